"""Statistics in parts: the part of one stretch of a store's words (a shard), and all parts joined.

A part holds the moments of its words and the vectors of those that were drawn for the quantiles. Which words are drawn
follows from the number of words alone, so that parts made at any time, in any order and by any process fit together.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field

import numpy as np
import pyarrow as pa
from jaxtyping import Bool, Float32, Float64, Int, Int64

from lca_jax.errors import SettingsError
from lca_jax.gathering.moments import GroupMoments, SiteMoments, merge_groups
from lca_jax.store.label_column import number_classes
from lca_jax.store.recipe import Recipe
from lca_jax.store.statistics import LEVELS, ClassStatistics, Gathering, Statistics
from lca_jax.store.tensor_file import pack_tensors, unpack_tensors

MOST_CLASSES = 2_000
"""Maximum number of classes of all tasks together. More are labels that name words (lemmas, numbers of heads), not
classes to be averaged."""


@dataclass(frozen=True, kw_only=True)
class GatheringPlan:
    """Settled settings of what is gathered from a store."""

    gathering: Gathering
    """The settings."""
    recipe: Recipe
    """Recipe of the store."""
    classes: Mapping[str, tuple[str, ...]]
    """Classes of every task, sorted."""
    groups: Int[np.ndarray, "word task"]
    """Group of every word in every task, 0 for none, in the smallest type; groups count on from task to task."""
    sample: Int64[np.ndarray, " drawn"]
    """Numbers of the words drawn for the quantiles, rising; those without a vector drop out."""

    @property
    def group_count(self) -> int:
        """Number of groups, that of all words included."""
        return 1 + sum(len(names) for names in self.classes.values())

    def drawn(self, first: int, last: int, usable: Bool[np.ndarray, " word"]) -> Int64[np.ndarray, " drawn"]:
        """Returns which of the words `first, …, last - 1` are drawn and have a vector, counted from `first`."""
        begin, end = np.searchsorted(self.sample, [first, last])
        words = self.sample[begin:end] - first
        return words[usable[words]]


def plan_gathering(
    recipe: Recipe, labels: Mapping[str, pa.Array | pa.ChunkedArray], gathering: Gathering
) -> GatheringPlan:
    """Settles what is gathered.

    Args:
        recipe: Recipe of the store.
        labels: Label column of every task, null for unlabelled words.
        gathering: The settings.

    Raises:
        SettingsError: A task is unknown, or there are too many classes; the message lists them.
    """
    tasks = tuple(labels) if gathering.tasks is None else gathering.tasks
    if unknown := [task for task in tasks if task not in labels]:
        raise SettingsError(f"No labels for the task {unknown[0]!r}. Its tasks: {', '.join(labels) or 'none'}.")
    columns = {task: number_classes(labels[task]) for task in tasks}
    classes = {task: names for task, (names, _) in columns.items()}
    total = sum(map(len, classes.values()))
    if total > MOST_CLASSES:
        counted = ", ".join(f"{task} {len(names):,}" for task, names in classes.items())
        raise SettingsError(
            f"Statistics are gathered of at most {MOST_CLASSES:,} classes, got {total:,} ({counted}). "
            "Name fewer tasks in `Gathering(tasks=…)`."
        )
    groups = np.zeros((recipe.words, len(tasks)), np.min_scalar_type(-total - 1))
    before = 1
    for number, (names, numbers) in enumerate(columns.values()):
        groups[:, number] = np.where(numbers < 0, 0, numbers.astype(np.int32) + before)
        before += len(names)
    drawn = min(gathering.sample_words, recipe.words)
    sample = np.random.default_rng(0).choice(recipe.words, drawn, replace=False, shuffle=False)
    return GatheringPlan(gathering=gathering, recipe=recipe, classes=classes, groups=groups, sample=np.sort(sample))


@dataclass(frozen=True, kw_only=True)
class Part:
    """Statistics of one stretch of words."""

    moments: GroupMoments | None
    """Moments of every group; None if no word has a vector."""
    sample: Mapping[str, Float32[np.ndarray, "drawn _layer _neuron"]]
    """Vectors of the drawn words at every site."""

    def to_bytes(self, plan: GatheringPlan) -> bytes:
        """Returns the content of a file."""
        tensors = {f"sample:{site}": drawn for site, drawn in self.sample.items()}
        if self.moments is not None:
            tensors["counts"] = self.moments.counts
            for site, of_site in self.moments.sites.items():
                named = of_site._asdict().items()
                tensors |= {f"{name}:{site}": array for name, array in named if array is not None}
        return pack_tensors(tensors, _facts_of(plan))

    @classmethod
    def from_bytes(cls, content: bytes, plan: GatheringPlan) -> "Part":
        """Reads what `to_bytes` returned.

        Raises:
            ValueError: The content was altered, or gathered with other settings.
        """
        tensors, facts = unpack_tensors(content)
        if facts != _facts_of(plan):
            raise ValueError("was gathered with other settings")
        sites = plan.recipe.sites
        moments = None
        if "counts" in tensors:
            of_sites = {
                site: SiteMoments(
                    **{name: tensors[f"{name}:{site}"] for name in SiteMoments._fields if name != "products"},
                    products=tensors.get(f"products:{site}"),
                )
                for site in sites
            }
            moments = GroupMoments(tensors["counts"], of_sites)
        return cls(moments=moments, sample={site: tensors[f"sample:{site}"] for site in sites})


@dataclass(kw_only=True)
class Total:
    """Joins parts, one after the other; memory is that of one part, and of the drawn words."""

    plan: GatheringPlan
    """Settled settings of what is gathered."""
    moments: GroupMoments | None = None
    """Moments of all parts so far."""
    samples: list[Mapping[str, Float32[np.ndarray, "drawn _layer _neuron"]]] = field(default_factory=list)
    """Vectors of the drawn words of each part."""

    def add(self, part: Part) -> None:
        """Adds one part."""
        self.samples.append(part.sample)
        if self.moments is None or part.moments is None:
            self.moments = self.moments or part.moments
        else:
            self.moments = merge_groups(self.moments, part.moments)

    def as_part(self) -> Part:
        """Returns all added parts as one part."""
        return Part(moments=self.moments, sample={site: self._sample_at(site) for site in self.plan.recipe.sites})

    def statistics(self, *, place: str) -> Statistics:
        """Returns the statistics; `place` is the name of the store in messages."""
        plan, moments = self.plan, self._moments
        words = int(moments.counts[0])
        mean, squares = (self._columns(name) for name in ("mean", "squares"))
        counts = np.where(moments.counts > 0, moments.counts, np.nan)[:, None]
        mean, variance = np.where(counts > 0, mean, np.nan), squares / counts
        by_task, before = {}, 1
        for task, names in plan.classes.items():
            of_task = slice(before, before + len(names))
            by_task[task] = ClassStatistics(
                classes=names, counts=moments.counts[of_task], mean=mean[of_task], variance=variance[of_task]
            )
            before += len(names)
        none = np.full(mean.shape[1], np.nan, np.float32)
        return Statistics(
            store=plan.recipe.fingerprint,
            place=place,
            gathering=plan.gathering,
            axis=plan.recipe.axis,
            words=words,
            mean=mean[0],
            variance=variance[0],
            covariances=self._covariances(),
            by_task=by_task,
            sampled=sum(len(next(iter(sample.values()))) for sample in self.samples),
            quantiles=self._quantiles(),
            smallest=self._columns("smallest") if words else none,
            largest=self._columns("largest") if words else none,
        )

    @property
    def _moments(self) -> GroupMoments:
        """The moments; zeros if no word has a vector."""
        return self.moments if self.moments is not None else _no_words(self.plan)

    @property
    def _by_site(self) -> list[SiteMoments]:
        """The moments of each site in the order of the columns; JAX returns dictionaries in the order of their keys."""
        return [self._moments.sites[site] for site in self.plan.recipe.sites]

    def _columns(self, name: str) -> Float64[np.ndarray, "*group feature"] | Float32[np.ndarray, "*group feature"]:
        """Returns one of the moments with all sites and layers side by side."""
        parts = [getattr(of_site, name) for of_site in self._by_site]
        return np.concatenate([part.reshape(*part.shape[:-2], -1) for part in parts], axis=-1)

    def _covariances(self) -> tuple[Float32[np.ndarray, "_neuron _neuron"], ...] | None:
        products = [of_site.products for of_site in self._by_site if of_site.products is not None]
        words = self._moments.counts[0] or np.nan
        blocks = tuple((block / words).astype(np.float32) for of_site in products for block in of_site)
        return blocks if self.plan.gathering.covariance else None

    def _sample_at(self, site: str) -> Float32[np.ndarray, "drawn layer neuron"]:
        shape = self.plan.recipe.sites[site]
        none = np.zeros((0, len(shape.layers), shape.width), np.float32)
        return np.concatenate([none, *(sample[site] for sample in self.samples)])

    def _quantiles(self) -> Float32[np.ndarray, "level feature"]:
        found = []
        for site in self.plan.recipe.sites:
            drawn = self._sample_at(site)
            for layer in range(drawn.shape[1]):
                # Sorted first, along memory: NumPy's quantile selects each level by itself, thirty times as slow.
                rising = np.sort(drawn[:, layer].T, axis=1)
                found.append(_interpolate(rising) if rising.shape[1] else np.full((len(LEVELS), len(rising)), np.nan))
        return np.concatenate(found, axis=1, dtype=np.float32)


def _interpolate(rising: Float32[np.ndarray, "neuron drawn"]) -> Float64[np.ndarray, "level neuron"]:
    """Returns quantiles of sorted values at `LEVELS`, interpolated as by NumPy's method `linear`."""
    places = LEVELS * (rising.shape[1] - 1)
    before = np.floor(places).astype(np.int64)
    after = np.minimum(before + 1, rising.shape[1] - 1)
    low, high = (rising[:, chosen].astype(np.float64) for chosen in (before, after))
    return (low + (places - before)[None] * (high - low)).T


def _no_words(plan: GatheringPlan) -> GroupMoments:
    """Returns the moments of no word."""
    sites = {}
    for site, shape in plan.recipe.sites.items():
        one = (len(shape.layers), shape.width)
        zeros = np.zeros((plan.group_count, *one))
        products = np.zeros((*one, shape.width)) if plan.gathering.covariance else None
        end = np.zeros(one, np.float32)
        sites[site] = SiteMoments(mean=zeros, squares=zeros, smallest=end, largest=end, products=products)
    return GroupMoments(np.zeros(plan.group_count, np.int64), sites)


def _facts_of(plan: GatheringPlan) -> dict:
    """Returns the store and settings that a part was gathered for."""
    gathering = asdict(plan.gathering) | {"tasks": list(plan.classes)}
    return {"store": plan.recipe.fingerprint, "gathering": gathering}
