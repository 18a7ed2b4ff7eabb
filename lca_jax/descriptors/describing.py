"""Describes neurons by descriptors, without labels: found on one half of the documents, checked on the other.

A tag is a descriptor with a sign. A neuron's tags are its strongest descriptors on half A whose |r| is above what
chance reaches anywhere (`matching.permutation_bound`) and above a smallest effect: with a thousand texts nearly every
neuron is "significant" for something. Half B finds tags in the same way; their overlap is the neuron's consistency. "No
description" is a result.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float32, Int

from lca_jax.axes import Neuron, NeuronAxis
from lca_jax.descriptors.agreement import Overlap, measure_overlap
from lca_jax.descriptors.contexts import Context, contexts_of
from lca_jax.descriptors.gold import AgainstLabels, Labels, compare_with_labels
from lca_jax.descriptors.inventory import Descriptors
from lca_jax.descriptors.matching import Match, average_precision, correlate, match, permutation_bound
from lca_jax.errors import SettingsError
from lca_jax.probing.metrics import NORMAL_95
from lca_jax.store.store import ActivationStore
from lca_jax.tables import text_table

_CIRCULAR = {
    "embedding": "embedder",
    "carried": "embedder",
    "words+carried": "embedder",
    "judged": "generator",
}
"""Scorers of presence that are functions of a model's states, and which model's."""


class Tag(NamedTuple):
    """A descriptor of a neuron."""

    name: str
    r: float
    """Correlation on half A; its sign says whether the neuron is high or low where the descriptor is present."""
    low: float
    """Ends of the 95 % interval of r (Fisher's z)."""
    high: float
    average_precision: float
    auc: float


class NeuronDescription(NamedTuple):
    """What is known of one neuron."""

    neuron: Neuron
    tags: tuple[Tag, ...]
    """Strongest first; empty where the neuron has no description."""
    consistency: float | None
    """Jaccard overlap of its tags on both halves; None where it has none on either."""
    contexts: tuple[Context, ...]
    """Texts of half B from all quantiles of its activation, highest first."""


class Tags(NamedTuple):
    """The tags of all neurons on one half."""

    descriptors: Int[np.ndarray, "neuron place"]
    """Numbers of the strongest descriptors, strongest first."""
    signs: Int[np.ndarray, "neuron place"]
    """1 or -1."""
    given: Bool[np.ndarray, "neuron place"]
    """Which of them are strong enough to be tags."""
    bound: float
    """The |r| that any pair exceeds by chance alone with probability `level` at most."""


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class Descriptions:
    """Descriptions of all neurons of a store; `told[Neuron("residual", 3, 127)]` is one of them."""

    axis: NeuronAxis
    explained: str
    """Fingerprint of the model whose neurons are described."""
    found: Descriptors
    half_a: Bool[np.ndarray, " text"]
    """Texts that the descriptions were made on; the others checked them."""
    matched: Match
    """Scores of all pairs on half A."""
    average_precision: Float32[np.ndarray, "neuron place"]
    """Of the strongest descriptors of every neuron on half A, in the order of `tags`."""
    tags: Tags
    overlap: Overlap
    """Consistency of all neurons, and its nulls."""
    activations: Float32[np.ndarray, "text neuron"]
    settings: Mapping[str, float | int]

    @property
    def consistency(self) -> float:
        """Mean Jaccard overlap of the tags on both halves, over neurons that have any."""
        return self.overlap.mean

    @property
    def null_consistency(self) -> float:
        """The same between each neuron and another one."""
        return self.overlap.other_neurons

    @cached_property
    def described(self) -> Int[np.ndarray, " neuron"]:
        """Columns of the neurons that have a tag, the strongest first."""
        strength = np.abs(self.matched.r).max(axis=1)
        columns = np.flatnonzero(self.tags.given[:, 0])
        return columns[np.argsort(-strength[columns], kind="stable")]

    def __getitem__(self, neuron: Neuron | tuple[str, int, int]) -> NeuronDescription:
        """Returns the description of one neuron.

        Raises:
            SettingsError: The store does not have it.
        """
        return self.of_column(self.axis.column(Neuron(*neuron)))

    def of_column(self, column: int, *, contexts: int = 10) -> NeuronDescription:
        """Returns the description of the neuron in a column, with texts from all quantiles."""
        numbers = self.tags.descriptors[column][self.tags.given[column]]
        jaccard = self.overlap.of_neuron[column]
        held = np.flatnonzero(~self.half_a)
        return NeuronDescription(
            neuron=self.axis.neuron(column),
            tags=tuple(self._tag(column, place, int(number)) for place, number in enumerate(numbers)),
            consistency=None if np.isnan(jaccard) else float(jaccard),
            contexts=contexts_of(self.activations[held, column], self.found.texts, held, count=contexts),
        )

    def score_against(
        self, labels: Labels, *, gold: float = 0.25, permutations: int = 20, seed: int = 0
    ) -> AgainstLabels:
        """Compares tags with labels that took no part: see `gold.compare_with_labels`."""
        return compare_with_labels(
            labels,
            tags=(self.tags.descriptors, self.tags.signs, self.tags.given),
            activations=self.activations[~self.half_a],
            occurrence=self.found.occurrence[~self.half_a],
            half_b=~self.half_a,
            documents=self.found.texts.document_numbers[~self.half_a],
            gold=gold,
            permutations=permutations,
            seed=seed,
        )

    def _tag(self, column: int, place: int, number: int) -> Tag:
        r = float(self.matched.r[column, number])
        spread = NORMAL_95 / np.sqrt(self.half_a.sum() - 3)
        low, high = np.tanh(np.arctanh(np.clip(r, -0.999999, 0.999999)) + np.array([-spread, spread]))
        precision, auc = self.average_precision[column, place], self.matched.auc[column, number]
        return Tag(self.found.names[number], r, float(low), float(high), float(precision), float(auc))

    def __repr__(self) -> str:
        shown = [self.of_column(int(column), contexts=0) for column in self.described[:10]]
        columns = {
            "neuron": [str(one.neuron) for one in shown],
            "tags": [
                ", ".join(f"{'+' if tag.r > 0 else '-'}{tag.name} ({tag.r:.2f})" for tag in one.tags) for one in shown
            ],
            "consistency": [one.consistency for one in shown],
        }
        caption = (
            f"{len(self.described):,} of {self.axis.size:,} neurons have a description; |r| above "
            f"{self.tags.bound:.3f} and {self.settings['effect']}; consistency {self.consistency:.2f}, between other "
            f"neurons {self.null_consistency:.2f}"
        )
        return text_table(columns, caption=caption)


def describe_neurons(
    store: ActivationStore,
    found: Descriptors,
    *,
    top: int = 2,
    effect: float = 0.2,
    level: float = 0.05,
    permutations: int = 200,
    seed: int = 0,
    sites: Sequence[str] | None = None,
) -> Descriptions:
    """Describes all neurons of a store by the descriptors of its texts; no label takes part.

    Args:
        store: Activations of the texts: the store that `texts_of_store` read, or one with a unit for each text.
        found: The descriptors.
        top: Maximum number of tags of a neuron.
        effect: Smallest |r| of a tag.
        level: Family-wise level: the chance that any pair of a neuron and a descriptor is tagged by chance alone.
        permutations: Number of permutations of the documents behind the bound; at least 1 / level - 1.
        seed: Seed of the halves and of the permutations.
        sites: Sites whose neurons are described; all if None.

    Raises:
        SettingsError: A setting is out of its range; or presence was scored by states of the very model that is
            explained, which is circular: the score would be linear in its neurons by construction.
        DataError: The store's units are other texts, or there are too few of them.
    """
    if top < 1 or not 0 <= effect < 1 or not 0 < level < 1:
        raise SettingsError(
            f"`top` must be at least 1, `effect` from 0 to below 1, `level` between 0 and 1; got {top}, {effect} and "
            f"{level}."
        )
    if permutations + 1 < 1 / level:
        raise SettingsError(f"A level of {level} needs at least {int(np.ceil(1 / level)) - 1} permutations.")
    _refuse_circular(store, found)
    activations = found.texts.read(store, sites)
    half = found.texts.halves(seed=seed)
    documents = found.texts.document_numbers
    matched = match(activations[half], found.presence[half], found.occurrence[half])
    r_b = correlate(activations[~half], found.presence[~half])
    tags = []
    for part, r in ((half, matched.r), (~half, r_b)):
        chance = {"documents": documents[part], "permutations": permutations, "level": level, "seed": seed}
        bound = permutation_bound(activations[part], found.presence[part], **chance)
        tags.append(choose_tags(r, top=top, bound=bound, effect=effect))
    return Descriptions(
        axis=store.axis(sites),
        explained=store.manifest.recipe.model,
        found=found,
        half_a=half,
        matched=matched,
        average_precision=average_precision(
            activations[half], found.occurrence[half], tags[0].descriptors, tags[0].signs
        ),
        tags=tags[0],
        overlap=measure_overlap(signed_tags(tags[0]), signed_tags(tags[1]), seed=seed),
        activations=activations,
        settings={"top": top, "effect": effect, "level": level, "permutations": permutations, "seed": seed},
    )


def choose_tags(r: Float32[np.ndarray, "neuron descriptor"], *, top: int, bound: float, effect: float) -> Tags:
    """Returns the strongest descriptors of each neuron; those above bound and effect are given."""
    order = np.argsort(-np.abs(r), axis=1, kind="stable")[:, :top]
    values = np.take_along_axis(r, order, axis=1)
    signs = np.where(values < 0, -1, 1)
    return Tags(order, signs, (np.abs(values) > bound) & (np.abs(values) >= effect), bound)


def signed_tags(tags: Tags) -> Int[np.ndarray, "neuron place"]:
    """Returns a number for each tag and its sign; -1 where there is none."""
    return np.where(tags.given, 2 * tags.descriptors + (tags.signs > 0), -1)


def _refuse_circular(store: ActivationStore, found: Descriptors) -> None:
    role = _CIRCULAR.get(found.origin["presence"])
    if role is not None and found.origin[role] == store.manifest.recipe.model:
        raise SettingsError(
            f"Presence was scored by {found.origin['presence']!r} with the very model whose neurons are described. "
            f"Such scores are functions of its neurons, and any description would fit. Give another {role}, or score "
            "presence by 'words' or 'written'."
        )
