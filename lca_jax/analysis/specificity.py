"""Which neurons are specific to a language: active in one or few, and not in the others (LAPE). No probe takes part.

With p_j,l the share of the words of language l at which neuron j is active, and q_j,l = p_j,l / Σ_l p_j,l,

    entropy_j = − Σ_l q_j,l ln q_j,l                         (language activation probability entropy)

A neuron is *specific* if its entropy is among the lowest hundredth of those neurons that are active often enough: in
some language more than 95 % of all p. It belongs to the languages in which it is that active.

A unit after a non-linearity is active above 0, as in the paper. Neurons elsewhere have no such threshold: they are
active above their mean over all languages, each of equal weight.

A lowest hundredth is always found. So the languages of the sentences are shuffled twenty times: `expected` tells how
many neurons have an entropy as low there, and `p` how often they are as many.

Reference: Tang et al. 2024, "Language-Specific Neurons", section 2.2 (equations 3 to 5, thresholds 1 % and 95 %);
Phipson and Smyth 2010, "Permutation p-values should never be zero".
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Bool, Float, Float64, Int

from lca_jax.axes import NeuronAxis
from lca_jax.errors import SettingsError
from lca_jax.store.store import ActivationStore
from lca_jax.tables import html_table, text_table

_BLOCK = 4096
"""Words that are read at a time."""
_DRAWS = 20


@dataclass(frozen=True, kw_only=True, repr=False)
class Specificity:
    """Language-specific neurons; from `language_specificity`."""

    names: tuple[str, ...]
    axis: NeuronAxis
    probability: Float64[np.ndarray, "language feature"] = field(repr=False)
    """p: share of the words at which a neuron is active."""
    entropy: Float64[np.ndarray, " feature"] = field(repr=False)
    """In nats, 0 for a neuron of one language, ln L for one that is as active in all; NaN for one that is never."""
    specific: Int[np.ndarray, " neuron"]
    """Columns of the specific neurons, lowest entropy first."""
    languages: Mapping[str, Int[np.ndarray, " _"]]
    """The specific neurons of each language; one may be of several."""
    highest: float | None
    """The highest entropy of a specific neuron; None without any."""
    expected: float
    """Number of neurons with an entropy as low where languages are shuffled over the sentences, in the mean."""
    p: float
    """Probability of so many where languages do not differ; 1/21 is the smallest that twenty shuffles give."""

    def __repr__(self) -> str:
        """Describes the specific neurons in a line, and the languages in a table."""
        return text_table(self.table(), caption=self._caption())

    def _repr_html_(self) -> str:
        return html_table(self.table(), caption=self._caption())

    def table(self) -> dict[str, list[object]]:
        """Returns one row a language, as columns of equal length, ready for `pandas.DataFrame(...)`."""
        return {"language": list(self.names), "neurons": [len(self.languages[name]) for name in self.names]}

    def _caption(self) -> str:
        return (
            f"{len(self.specific)} of {self.axis.size} neurons are specific to some of {len(self.names)} languages; "
            f"{self.expected:.3g} expected where languages are shuffled (p = {self.p:.2g})"
        )


def language_specificity(
    stores: Mapping[str, ActivationStore], *, lowest: float = 0.01, active: float = 0.95, seed: int = 0
) -> Specificity:
    """Finds the language-specific neurons of a model. Stores are read twice, block by block.

    Args:
        stores: The activations of each language, of the same neurons; two languages or more.
        lowest: Share of the neurons that count as specific, in (0, 1].
        active: The share of all p above which a neuron is active in a language, in (0, 1).
        seed: Seed of the shuffling.

    Raises:
        SettingsError: There are fewer than two stores, they have other neurons, or a share is out of its range.
    """
    if len(stores) < 2:
        raise SettingsError(f"Specificity is to one of two languages or more, got {len(stores)}.")
    axis = next(iter(stores.values())).axis()
    if others := [name for name, store in stores.items() if store.axis() != axis]:
        raise SettingsError(f"All stores must have the same neurons; those of {', '.join(others)} are others.")
    if not (0 < lowest <= 1 and 0 < active < 1):
        raise SettingsError(f"`lowest` must be in (0, 1] and `active` in (0, 1), got {lowest} and {active}.")
    thresholds = _thresholds(stores, axis)
    counts, sizes = zip(*(_counts(store, thresholds) for store in stores.values()), strict=True)
    number = np.repeat(np.arange(len(counts)), [len(size) for size in sizes])
    every, words = np.concatenate(counts), np.concatenate(sizes)
    probability = _probabilities(every, words, number)
    entropy = activation_entropy(probability)
    specific, bar = specific_neurons(probability, entropy, lowest=lowest, active=active)
    highest = float(entropy[specific].max()) if len(specific) else None
    generator, drawn = np.random.default_rng(seed), []
    for _ in range(_DRAWS if highest is not None else 0):
        shuffled = _probabilities(every, words, generator.permutation(number))
        low = (activation_entropy(shuffled) <= highest) & (shuffled.max(axis=0) > bar)
        drawn.append(int(low.sum()))
    return Specificity(
        names=tuple(stores),
        axis=axis,
        probability=probability,
        entropy=entropy,
        specific=specific,
        languages={name: specific[row[specific] > bar] for name, row in zip(stores, probability, strict=True)},
        highest=highest,
        expected=float(np.mean(drawn)) if drawn else 0.0,
        p=(1 + sum(count >= len(specific) for count in drawn)) / (1 + len(drawn)),
    )


def activation_entropy(probability: Float64[np.ndarray, "language feature"]) -> Float64[np.ndarray, " feature"]:
    """Returns the entropy of every neuron over the languages, in nats; NaN where it is never active."""
    total = probability.sum(axis=0)
    share = probability / np.where(total > 0, total, np.nan)
    return -np.sum(share * np.log(np.where(share > 0, share, 1)), axis=0)


def specific_neurons(
    probability: Float64[np.ndarray, "language feature"],
    entropy: Float64[np.ndarray, " feature"],
    *,
    lowest: float,
    active: float,
) -> tuple[Int[np.ndarray, " neuron"], float]:
    """Returns the neurons of the lowest entropy among those that are active often enough, and what is often enough."""
    bar = float(np.quantile(probability, active))
    often = np.flatnonzero(probability.max(axis=0) > bar)
    count = min(len(often), max(1, round(lowest * probability.shape[1])))
    return often[np.argsort(entropy[often], kind="stable")][:count], bar


def _thresholds(stores: Mapping[str, ActivationStore], axis: NeuronAxis) -> Float64[np.ndarray, " feature"]:
    """Returns 0 for units after a non-linearity, for all others their mean over the languages."""
    after = np.array([block.site.endswith("mlp") for block in axis.blocks])[axis.block_of_column]
    if after.all():
        return np.zeros(axis.size)
    means = []
    for store in stores.values():
        units, total = np.flatnonzero(store.usable), np.zeros(axis.size)
        for first in range(0, len(units), _BLOCK):
            total += store.matrix(units[first : first + _BLOCK]).sum(axis=0, dtype=np.float64)
        means.append(total / len(units))
    return np.where(after, 0, np.mean(means, axis=0))


def _counts(
    store: ActivationStore, thresholds: Float64[np.ndarray, " feature"]
) -> tuple[Float64[np.ndarray, "sentence feature"], Float64[np.ndarray, " sentence"]]:
    """Returns for every sentence at how many of its words each neuron is active, and the number of its words."""
    units = np.flatnonzero(store.usable)
    _, sentence = np.unique(store.words["sentence"].to_numpy()[units], return_inverse=True)
    sizes = np.bincount(sentence).astype(np.float64)
    counts = np.zeros((len(sizes), len(thresholds)))
    for first in range(0, len(units), _BLOCK):
        block = slice(first, first + _BLOCK)
        is_active: Bool[np.ndarray, "word feature"] = store.matrix(units[block]) > thresholds.astype(np.float32)
        np.add.at(counts, sentence[block], is_active)
    return counts, sizes


def _probabilities(
    counts: Float64[np.ndarray, "sentence feature"],
    sizes: Float64[np.ndarray, " sentence"],
    language: Int[np.ndarray, " sentence"],
) -> Float64[np.ndarray, "language feature"]:
    belongs: Float[np.ndarray, "language sentence"] = (language == np.arange(language.max() + 1)[:, None]).astype(float)
    return np.dot(belongs, counts) / np.dot(belongs, sizes)[:, None]
