"""Statistics of a store's neurons for rankings without training: means, variances, covariances, classes, quantiles.

They are gathered in one pass (room `gathering`) and kept with the store in a file of their own,
`statistics.safetensors`, which the manifest does not name: a whole store stays as it is, and may get statistics later.
The file has a checksum, and the fingerprint of the store's recipe, so that it is not taken for another store's.

Bytes: 8 for each mean or variance of a neuron, of all words and of every class; 4·w² for the covariances of a layer w
wide; 4 for each quantile. 2,688 neurons in 7 layers, 17 classes: 0.8 MB, 4.1 MB and 2.2 MB.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from html import escape

import numpy as np
from jaxtyping import Float32, Float64, Int64

from lca_jax.axes import NeuronAxis, choose_layers
from lca_jax.errors import SettingsError, StoreError
from lca_jax.store.recipe import Recipe
from lca_jax.store.tensor_file import pack_tensors, unpack_tensors
from lca_jax.tables import html_table, text_table

STATISTICS = "statistics.safetensors"
"""Name of the file in a store's folder."""
FORMAT = 1
"""Number of the file's format; a reader refuses any other."""
LEVELS = np.unique(np.concatenate([np.arange(201) / 200, [0.001, 0.999]]))
"""Levels of the quantiles that are kept: every half of a hundredth, and both outermost thousandths."""


@dataclass(frozen=True, kw_only=True)
class Gathering:
    """Settings: which statistics are gathered."""

    tasks: Sequence[str] | None = None
    """Tasks whose classes are told apart; all tasks of the store if None."""
    covariance: bool = True
    """Whether covariances of every layer are gathered: 2·w more operations for each value of a layer w wide."""
    sample_words: int = 4096
    """Number of words drawn for the quantiles, 0 for no quantiles. Stores with at most this many words have exact
    quantiles. At the end the drawn words are all in memory: 4 bytes times the neurons for each."""

    def __post_init__(self) -> None:
        if self.tasks is not None:
            object.__setattr__(self, "tasks", tuple(self.tasks))
        if self.sample_words < 0:
            raise SettingsError(f"`sample_words` must be 0 or more, got {self.sample_words}. 0 is for no quantiles.")


@dataclass(frozen=True, kw_only=True, eq=False)
class ClassStatistics:
    """Statistics of the classes of one task."""

    classes: tuple[str, ...]
    """Names of the classes, sorted; classes of which no word has a vector are there too."""
    counts: Int64[np.ndarray, " class"]
    """Number of words with a vector."""
    mean: Float64[np.ndarray, "class feature"]
    """Mean of the class; NaN where it has no word."""
    variance: Float64[np.ndarray, "class feature"]
    """Mean squared distance from the class's own mean; NaN where it has no word."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Statistics:
    """Statistics of the words of a store that have a vector; columns are those of `store.axis()`."""

    store: str
    """Fingerprint of the store's recipe."""
    place: str
    """Name of the store in messages."""
    gathering: Gathering
    """Settings that they were gathered with."""
    axis: NeuronAxis
    """The neuron of each column."""
    words: int
    """Number of words with a vector; if it is 0, everything is NaN."""
    mean: Float64[np.ndarray, " feature"]
    """Mean of each neuron."""
    variance: Float64[np.ndarray, " feature"]
    """Mean squared distance from the mean (divided by the number of words)."""
    smallest: Float32[np.ndarray, " feature"]
    """Smallest value of each neuron."""
    largest: Float32[np.ndarray, " feature"]
    """Largest value of each neuron."""
    covariances: tuple[Float32[np.ndarray, "_neuron _neuron"], ...] | None
    """One matrix for each block of `axis`, divided by the number of words; None if not gathered."""
    by_task: Mapping[str, ClassStatistics]
    """Statistics of the classes of each task."""
    sampled: int
    """Number of words behind the quantiles; fewer than `words` where these are estimates."""
    quantiles: Float32[np.ndarray, "level feature"]
    """Quantiles at `LEVELS`, as NumPy interpolates them."""

    def __repr__(self) -> str:
        """Returns the layers with the range of their values, and what was gathered, in a few lines."""
        return "\n".join([text_table(self._layers(), caption=self._caption()), *self._facts()])

    def _repr_html_(self) -> str:
        lines = "".join(f"<div>{escape(fact)}</div>" for fact in self._facts())
        return html_table(self._layers(), caption=self._caption()) + lines

    def of_task(self, task: str) -> ClassStatistics:
        """Returns the statistics of one task's classes.

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
        """Returns the covariances of the neurons of one layer, in the order of their columns.

        Raises:
            SettingsError: The site or layer is unknown (the message lists the known ones), or covariances were not
                gathered.
        """
        if self.covariances is None:
            raise SettingsError(
                f"The statistics of {self.place} were gathered without covariances. Gather again, with "
                "`covariance=True`: `gather_statistics`."
            )
        known: dict[str, list[int]] = {}
        for block in self.axis.blocks:
            known.setdefault(block.site, []).append(block.layer)
        choose_layers(known, [site], [layer], place=f"the statistics of {self.place}")
        return self.covariances[[(block.site, block.layer) for block in self.axis.blocks].index((site, layer))]

    def correlation(self, site: str, layer: int) -> Float64[np.ndarray, "neuron _neuron"]:
        """Returns Pearson's correlations of the neurons of one layer, -1 to 1; 0 with a neuron that never changes.

        Raises:
            SettingsError: The site or layer is unknown, or covariances were not gathered.
        """
        covariance = self.covariance(site, layer).astype(np.float64)
        deviation = np.sqrt(np.diagonal(covariance))
        both = deviation[:, None] * deviation[None, :]
        correlation = np.clip(np.divide(covariance, both, out=np.zeros_like(covariance), where=both > 0), -1, 1)
        np.fill_diagonal(correlation, deviation > 0)
        return correlation

    def quantile(self, level: float) -> Float32[np.ndarray, " feature"]:
        """Returns for every neuron the value below which a share of the words lies.

        Between the levels of `LEVELS` it is interpolated, which adds at most their distance to the error in rank.

        Args:
            level: Share of the words, 0 to 1; 0.5 is the median. `quantile_error` bounds the error.

        Raises:
            SettingsError: The level is outside 0 to 1, or no quantiles were gathered.
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
        """Returns how far the rank of a quantile may be from its level, as a fraction of the words.

        The quantiles are those of `sampled` words drawn without replacement, so they are exact where all were drawn.
        Else the share of the sample below a value differs from that of the store by more than
        ε = √(ln(2·neurons / (1 - confidence)) / (2·sampled)) with a probability of at most 1 - confidence. This holds
        for every distribution of the neurons, for one level, and for this many neurons at once.

        Args:
            confidence: Probability that the bound holds, between 0 and 1.
            neurons: Number of neurons for which it holds at once.

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
        """Returns the content of the file."""
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
            content: Content of the file.
            recipe: Recipe of the store.
            place: Name of the store for messages.

        Raises:
            StoreError: The file was altered, breaks its format, or belongs to another store.
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

    def _caption(self) -> str:
        return f"Statistics of {self.words:,} words with a vector in {self.place}"

    def _layers(self) -> Mapping[str, list]:
        columns: dict[str, list] = {"layer": [], "neurons": [], "smallest": [], "largest": []}
        first = 0
        for block in self.axis.blocks:
            of_block = slice(first, first + block.width)
            ends = (float(self.smallest[of_block].min()), float(self.largest[of_block].max()))
            for column, value in zip(columns.values(), (block.name, block.width, *ends), strict=True):
                column.append(value)
            first += block.width
        return columns

    def _facts(self) -> list[str]:
        tasks = ", ".join(f"{task} ({len(of_task.classes)} classes)" for task, of_task in self.by_task.items())
        return [
            f"tasks: {tasks or 'none'}",
            f"covariances: {'none' if self.covariances is None else 'within every layer'}",
            f"quantiles: {f'from {self.sampled:,} words' if self.sampled else 'none'}",
        ]

    def _refuse_no_sample(self) -> None:
        if not self.sampled:
            raise SettingsError(
                f"The statistics of {self.place} have no quantiles: no word with a vector was drawn. Gather again, "
                "with more `sample_words`: `gather_statistics`."
            )
