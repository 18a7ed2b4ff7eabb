"""What rankings without training need of a store: means, variances, covariances, classes and quantiles of its neurons.

They are gathered in one pass (`gathering`) and kept with the store in a file of their own, `statistics.safetensors`,
which the manifest does not name: a whole store stays as it is, and may get statistics later. The file has a checksum,
and the fingerprint of the store's recipe, so that it is not taken for another store's.

Bytes: 8 a mean or variance of a neuron, of all words and of every class; 4·w² a layer of w neurons for covariances;
4 a quantile. 2,688 neurons in 7 layers, 17 classes: 0.8 MB, 4.1 MB and 2.2 MB.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

import numpy as np
from jaxtyping import Float32, Float64, Int64

from lca_jax.axes import NeuronAxis
from lca_jax.errors import SettingsError, StoreError
from lca_jax.store.recipe import Recipe
from lca_jax.store.tensor_file import pack_tensors, unpack_tensors

STATISTICS = "statistics.safetensors"
"""Name of the file in a store's folder."""
FORMAT = 1
LEVELS = np.unique(np.concatenate([np.arange(201) / 200, [0.001, 0.999]]))
"""The quantiles that are kept: every half of a hundredth, and both outermost thousandths."""


@dataclass(frozen=True, kw_only=True)
class Gathering:
    """Which statistics are gathered."""

    tasks: Sequence[str] | None = None
    """Tasks whose classes are told apart; all of the store's if None."""
    covariance: bool = True
    """Whether the covariances of every layer are: 2·w operations more for each value of a layer w wide."""
    sample_words: int = 4096
    """Rows drawn for the quantiles, which are exact in stores that have no more; 0 for no quantiles. They are held in
    memory at the end: 4 bytes times the neurons for each."""

    def __post_init__(self) -> None:
        if self.tasks is not None:
            object.__setattr__(self, "tasks", tuple(self.tasks))
        if self.sample_words < 0:
            raise SettingsError(f"`sample_words` must be 0 or more, got {self.sample_words}. 0 is for no quantiles.")


@dataclass(frozen=True, kw_only=True, eq=False)
class ClassStatistics:
    """Of the classes of one task."""

    classes: tuple[str, ...]
    """Their names, sorted; also those of which no word has a vector."""
    counts: Int64[np.ndarray, " class"]
    """Words with a vector."""
    mean: Float64[np.ndarray, "class feature"]
    """NaN where a class has no word."""
    variance: Float64[np.ndarray, "class feature"]
    """Mean squared distance from the class's own mean; NaN where a class has no word."""

    @property
    def pooled_variance(self) -> Float64[np.ndarray, " feature"]:
        """Within classes: mean squared distance of the labelled words from their class's mean; NaN of no word."""
        held = self.counts > 0
        if not held.any():
            return np.full(self.mean.shape[1], np.nan)
        return np.average(self.variance[held], axis=0, weights=self.counts[held])


@dataclass(frozen=True, kw_only=True, eq=False)
class Statistics:
    """Of the words of a store that have a vector; columns are those of `store.axis()`. Nothing here is read again."""

    store: str
    """Fingerprint of the store's recipe."""
    place: str
    """How the store is called in messages."""
    gathering: Gathering
    """What was gathered."""
    axis: NeuronAxis
    """Which neuron each column is."""
    words: int
    """How many there are; of none, everything is NaN."""
    mean: Float64[np.ndarray, " feature"]
    variance: Float64[np.ndarray, " feature"]
    """Mean squared distance from the mean (divided by the number of words)."""
    smallest: Float32[np.ndarray, " feature"]
    largest: Float32[np.ndarray, " feature"]
    covariances: tuple[Float32[np.ndarray, "_neuron _neuron"], ...] | None
    """One matrix a block of `axis`, divided by the number of words; None if not gathered."""
    by_task: Mapping[str, ClassStatistics]
    sampled: int
    """Words behind the quantiles; fewer than `words` where they are estimates."""
    quantiles: Float32[np.ndarray, "level feature"]
    """At `LEVELS`, as NumPy interpolates them."""

    def of_task(self, task: str) -> ClassStatistics:
        """The classes of one task.

        Raises:
            SettingsError: They were not gathered; the message lists the tasks that were.
        """
        if task not in self.by_task:
            raise SettingsError(
                f"The statistics of {self.place} have no classes of {task!r}. Tasks gathered: "
                f"{', '.join(self.by_task) or 'none'}. Gather again, with `tasks` naming it: `gather_statistics`."
            )
        return self.by_task[task]

    def covariance(self, site: str, layer: int) -> Float32[np.ndarray, "neuron _neuron"]:
        """Covariances of the neurons of one layer, in the order of their columns.

        Raises:
            SettingsError: The layer is not held, or covariances were not gathered.
        """
        if self.covariances is None:
            raise SettingsError(
                f"The statistics of {self.place} were gathered without covariances. Gather again, with "
                "`covariance=True`: `gather_statistics`."
            )
        places = [(block.site, block.layer) for block in self.axis.blocks]
        if (site, layer) not in places:
            held = ", ".join(f"{name} {number}" for name, number in places)
            raise SettingsError(f"No layer {layer} of `{site}` in the statistics of {self.place}. Held: {held}.")
        return self.covariances[places.index((site, layer))]

    def correlation(self, site: str, layer: int) -> Float64[np.ndarray, "neuron _neuron"]:
        """Pearson's correlations of the neurons of one layer, -1 to 1; 0 with a neuron that never changes.

        Raises:
            SettingsError: As for `covariance`.
        """
        covariance = self.covariance(site, layer).astype(np.float64)
        deviation = np.sqrt(np.diagonal(covariance))
        both = deviation[:, None] * deviation[None, :]
        correlation = np.clip(np.divide(covariance, both, out=np.zeros_like(covariance), where=both > 0), -1, 1)
        np.fill_diagonal(correlation, deviation > 0)
        return correlation

    def quantile(self, level: float) -> Float32[np.ndarray, " feature"]:
        """The value below which that share of the words lies, of every neuron.

        Between the levels kept it is interpolated, which adds at most their distance to the error in rank.

        Args:
            level: A fraction, 0 to 1; 0.5 is the median. See `quantile_error`.

        Raises:
            SettingsError: The level is no fraction, or no quantiles were gathered.
        """
        if not 0 <= level <= 1:
            raise SettingsError(f"`level` must be in [0, 1], got {level}. The median is 0.5.")
        self._refuse_no_sample()
        after = int(np.searchsorted(LEVELS, level - 1e-9))
        if abs(LEVELS[after] - level) <= 1e-9:
            return self.quantiles[after]
        share = (level - LEVELS[after - 1]) / (LEVELS[after] - LEVELS[after - 1])
        below, above = self.quantiles[after - 1 : after + 1].astype(np.float64)
        return (below + share * (above - below)).astype(np.float32)

    def quantile_error(self, *, confidence: float = 0.95, neurons: int = 1) -> float:
        """How far the rank of a quantile may be from its level, as a fraction of the words.

        The quantiles are those of `sampled` words drawn without replacement, so they are exact where all were drawn.
        Else the share of the sample below a value differs from that of the store by more than
        ε = √(ln(2·neurons / (1 - confidence)) / (2·sampled)) with a probability of at most 1 - confidence. That is
        whatever the neurons' distributions are; it is said for one level, and for so many neurons at once.

        Raises:
            SettingsError: No quantiles were gathered, or `confidence` is not in (0, 1).

        Reference: Hoeffding 1963, "Probability inequalities for sums of bounded random variables", Theorem 1 and
        section 6 (sampling without replacement).
        """
        self._refuse_no_sample()
        if not 0 < confidence < 1:
            raise SettingsError(f"`confidence` must be in (0, 1), got {confidence}. Nineteen in twenty is 0.95.")
        if self.sampled == self.words:
            return 0.0
        return math.sqrt(math.log(2 * neurons / (1 - confidence)) / (2 * self.sampled))

    def to_bytes(self) -> bytes:
        """The file's content."""
        tensors = {name: getattr(self, name) for name in ("mean", "variance", "smallest", "largest", "quantiles")}
        tensors["levels"] = LEVELS
        for number, block in enumerate(self.covariances or ()):
            tensors[f"covariance:{number}"] = block
        for number, of_task in enumerate(self.by_task.values()):
            for name in ("counts", "mean", "variance"):
                tensors[f"task:{number}:{name}"] = getattr(of_task, name)
        facts = {
            "format": FORMAT,
            "store": self.store,
            "gathering": asdict(self.gathering),
            "words": self.words,
            "sampled": self.sampled,
            "blocks": [{"site": block.site, "layer": block.layer, "width": block.width} for block in self.axis.blocks],
            "classes": {task: of_task.classes for task, of_task in self.by_task.items()},
        }
        return pack_tensors(tensors, facts)

    @classmethod
    def from_bytes(cls, content: bytes, recipe: Recipe, *, place: str) -> "Statistics":
        """Reads the file of a store.

        Args:
            content: The file.
            recipe: The store's.
            place: The store's, for messages.

        Raises:
            StoreError: The file was altered, breaks its format, or is another store's.
        """
        way_out = f"Delete {place}/{STATISTICS} and gather again: `gather_statistics`."
        try:
            tensors, facts = unpack_tensors(content)
            if facts["format"] != FORMAT:
                raise ValueError(f"has format {facts['format']}, this version of lca_jax reads format {FORMAT}")  # noqa: TRY301
            if facts["store"] != recipe.fingerprint:
                raise ValueError("belongs to another store")  # noqa: TRY301
            by_task = {
                task: ClassStatistics(
                    classes=tuple(classes),
                    **{name: tensors[f"task:{number}:{name}"] for name in ("counts", "mean", "variance")},
                )
                for number, (task, classes) in enumerate(facts["classes"].items())
            }
            gathering = Gathering(**facts["gathering"])
            blocks = range(len(recipe.axis.blocks)) if gathering.covariance else None
            return cls(
                store=facts["store"],
                place=place,
                gathering=gathering,
                axis=recipe.axis,
                words=facts["words"],
                covariances=None if blocks is None else tuple(tensors[f"covariance:{number}"] for number in blocks),
                by_task=by_task,
                sampled=facts["sampled"],
                **{name: tensors[name] for name in ("mean", "variance", "smallest", "largest", "quantiles")},
            )
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            what = str(error) if type(error) is ValueError else f"breaks its format ({error!r})"
            raise StoreError(f"{place}/{STATISTICS} {what}. {way_out}") from None

    def _refuse_no_sample(self) -> None:
        if not self.sampled:
            raise SettingsError(
                f"The statistics of {self.place} have no quantiles: no word with a vector was drawn. Gather again, "
                "with more `sample_words`: `gather_statistics`."
            )
