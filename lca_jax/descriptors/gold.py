"""Compares descriptions with labels that took no part in them, on the half of the texts that made no description.

A neuron's gold labels are those with |r| at least `gold` on half B, with their sign. A descriptor names a label where
its texts have at least twice the label's odds, above 1 with 95 % confidence, on half B; of each group of labels
(product types, aspects) it names at most the one that it is surest of. A tag is right if it names a gold label with
the same sign. P@k is the share of right tags among a neuron's first k, over neurons with gold and a tag; R@k the
share of its gold labels that its first k tags name, over all neurons with gold, those without a tag included; MRR the
mean of 1 / place of the first right tag. The ceiling is what the best choice of k of these descriptors reaches; the
nulls are the tags of other neurons, and labels whose documents were permuted, against which neurons have gold labels
by chance alone.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Float32, Int

from lca_jax.descriptors.matching import correlate, permute_texts
from lca_jax.errors import DataError, SettingsError
from lca_jax.probing.metrics import NORMAL_95, with_unseen
from lca_jax.tables import text_table

Labels = Mapping[str, Mapping[str, Bool[np.ndarray, "_text"]]]
"""Group to label to its mask over all texts, such as `{"product": {"camera": …}, "tone": {"positive": …}}`."""
_ODDS = 2.0
_KS = (1, 2)


class Rates(NamedTuple):
    """How well tags agree with gold labels."""

    precision_1: float
    precision_2: float
    recall_1: float
    recall_2: float
    mrr: float


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class AgainstLabels:
    """Agreement of descriptions with labels."""

    rates: Rates
    intervals: Mapping[str, tuple[float, float]]
    """95 % bootstrap interval of each rate, over neurons."""
    ceiling: Rates
    """What the best choice among these descriptors reaches."""
    other_neurons: Rates
    """With the tags of another neuron that has gold labels."""
    permuted_labels: Rates | None
    """With labels of permuted documents; None if no neuron has gold labels then."""
    permuted_gold: float
    """Mean number of neurons with gold labels where labels are permuted."""
    neurons: int
    """Number of neurons with gold labels."""
    described: int
    """Number of them that have a tag."""
    gold_per_neuron: float
    named: Mapping[str, tuple[int, ...]]
    """Label to the numbers of the descriptors that name it."""

    @property
    def rows(self) -> dict[str, Rates]:
        """The rates by what they are of: the descriptions, the best that is possible, and chance."""
        rows = {"descriptions": self.rates, "ceiling": self.ceiling, "tags of other neurons": self.other_neurons}
        return rows if self.permuted_labels is None else {**rows, "permuted labels": self.permuted_labels}

    def __repr__(self) -> str:
        rows = self.rows
        columns = {"": list(rows)} | {field: [getattr(row, field) for row in rows.values()] for field in Rates._fields}
        caption = (
            f"{self.neurons:,} neurons have {self.gold_per_neuron:.2f} gold labels each; {self.described:,} of them "
            "have a tag"
        )
        return text_table(columns, caption=caption)


def compare_with_labels(
    labels: Labels,
    *,
    tags: tuple[Int[np.ndarray, "neuron place"], Int[np.ndarray, "neuron place"], Bool[np.ndarray, "neuron place"]],
    activations: Float[np.ndarray, "text neuron"],
    occurrence: Bool[np.ndarray, "text descriptor"],
    half_b: Bool[np.ndarray, " all"],
    documents: Int[np.ndarray, " text"],
    gold: float = 0.25,
    permutations: int = 20,
    seed: int = 0,
) -> AgainstLabels:
    """Compares tags with labels, on half B.

    Args:
        labels: Groups of labels over all texts.
        tags: Numbers, signs and given of every neuron's tags.
        activations: Activations on half B.
        occurrence: Where each descriptor occurs on half B.
        half_b: Which of all texts are in half B.
        documents: Document of each text of half B.
        gold: Smallest |r| of a neuron and its gold label.
        permutations: Number of permutations of the labels.
        seed: Seed of permutations and bootstrap.

    Raises:
        SettingsError: `gold` is not between 0 and 1.
        DataError: A label is of another number of texts, or no neuron has a gold label.
    """
    if not 0 < gold < 1:
        raise SettingsError(f"`gold` must be between 0 and 1, got {gold}.")
    names, groups, table = _table_of(labels, half_b)
    naming = names_labels(occurrence, table, groups)
    r = correlate(activations, table)
    if not (np.abs(r) >= gold).any():
        raise DataError(f"No neuron has a correlation of {gold} with a label on the texts that made no description.")
    rng = np.random.default_rng(seed)
    scored = _score(tags, r, naming, gold=gold)
    shifted = _score(_of_others(tags, scored.who, rng), r, naming, gold=gold)
    by_chance = [
        _score(tags, correlate(activations, table[order]), names_labels(occurrence, table[order], groups), gold=gold)
        for order in permute_texts(len(table), documents=documents, permutations=permutations, seed=seed)
    ]
    chance = [one for one in by_chance if len(one.who)]
    return AgainstLabels(
        rates=scored.rates(),
        intervals=scored.intervals(rng),
        ceiling=_ceiling(scored, naming),
        other_neurons=shifted.rates(),
        permuted_labels=Rates(*map(_mean, zip(*(one.rates() for one in chance), strict=True))) if chance else None,
        permuted_gold=float(np.mean([len(one.who) for one in by_chance])) if by_chance else float("nan"),
        neurons=len(scored.who),
        described=int((scored.given[:, 0]).sum()),
        gold_per_neuron=float(scored.gold.sum(axis=1).mean()),
        named={name: tuple(np.flatnonzero(naming[:, place]).tolist()) for place, name in enumerate(names)},
    )


def names_labels(
    occurrence: Bool[np.ndarray, "text descriptor"],
    labels: Float32[np.ndarray, "text label"],
    groups: Int[np.ndarray, " label"],
) -> Bool[np.ndarray, "descriptor label"]:
    """Tells which descriptor names which label: by the odds ratio, with half a text added to each count."""
    has, label = occurrence.astype(np.float64), labels.astype(np.float64)
    counts = [has.T @ label, has.T @ (1 - label), (1 - has).T @ label, (1 - has).T @ (1 - label)]
    both, only, other, none = (count + 0.5 for count in counts)
    odds = np.log(both * none / (only * other))
    low = odds - NORMAL_95 * np.sqrt(1 / both + 1 / only + 1 / other + 1 / none)
    names = (low > 0) & (odds >= np.log(_ODDS))
    for group in np.unique(groups):
        columns = np.flatnonzero(groups == group)
        surest = columns[np.argmax(low[:, columns], axis=1)]
        names[:, columns] &= columns[None, :] == surest[:, None]
    return names


class _Scored(NamedTuple):
    """Right and given tags of the neurons that have gold labels."""

    who: Int[np.ndarray, " neuron"]
    right: Bool[np.ndarray, "neuron place label"]
    given: Bool[np.ndarray, "neuron place"]
    gold: Bool[np.ndarray, "neuron label"]

    def of_neurons(self) -> Float[np.ndarray, "rate neuron"]:
        """Returns every rate of every neuron; NaN for the precision of a neuron without a tag."""
        hits = self.right.max(axis=2)
        rows = []
        for k in _KS:
            given = self.given[:, :k].sum(axis=1)
            rows.append(np.where(given > 0, hits[:, :k].sum(axis=1) / np.maximum(given, 1), np.nan))
        rows += [self.right[:, :k].max(axis=1).sum(axis=1) / self.gold.sum(axis=1) for k in _KS]
        first = np.where(hits.any(axis=1), 1 / (hits.argmax(axis=1) + 1), 0.0)
        return np.stack([*rows, first])

    def rates(self) -> Rates:
        """Returns the means over neurons."""
        return Rates(*map(_mean, self.of_neurons()))

    def intervals(self, rng: np.random.Generator) -> dict[str, tuple[float, float]]:
        """Returns bootstrap intervals over neurons, which reach as far as neurons of a kind that was not seen could."""
        values = self.of_neurons()
        found = {}
        for name, row in zip(Rates._fields, values, strict=True):
            known = row[np.isfinite(row)]
            if len(known):
                means = known[rng.integers(0, len(known), (1000, len(known)))].mean(axis=1)
                ends = np.quantile(means, [0.025, 0.975])[None]
                low, high = with_unseen(ends, known[None], np.arange(len(known)), least=0)[0].tolist()
                found[name] = (low, high)
        return found


def _mean(values: Sequence[float] | Float[np.ndarray, " neuron"]) -> float:
    """Returns the mean of the values that are known; NaN if none is."""
    known = [value for value in values if np.isfinite(value)]
    return float(np.mean(known)) if known else float("nan")


def _score(
    tags: tuple[Int[np.ndarray, "neuron place"], Int[np.ndarray, "neuron place"], Bool[np.ndarray, "neuron place"]],
    r: Float32[np.ndarray, "neuron label"],
    naming: Bool[np.ndarray, "descriptor label"],
    *,
    gold: float,
) -> _Scored:
    numbers, signs, given = tags
    is_gold = np.abs(r) >= gold
    who = np.flatnonzero(is_gold.any(axis=1))
    same = np.sign(r[who])[:, None, :] == signs[who][:, :, None]
    right = naming[numbers[who]] & is_gold[who][:, None, :] & same & given[who][:, :, None]
    return _Scored(who, right, given[who], is_gold[who])


def _of_others(
    tags: tuple[Int[np.ndarray, "neuron place"], Int[np.ndarray, "neuron place"], Bool[np.ndarray, "neuron place"]],
    who: Int[np.ndarray, " gold"],
    rng: np.random.Generator,
) -> tuple[Int[np.ndarray, "neuron place"], Int[np.ndarray, "neuron place"], Bool[np.ndarray, "neuron place"]]:
    """Gives each neuron with gold labels the tags of another one."""
    order = rng.permutation(who)
    numbers, signs, given = (column.copy() for column in tags)
    for column, source in zip((numbers, signs, given), tags, strict=True):
        column[order] = source[np.roll(order, 1)]
    return numbers, signs, given


def _ceiling(scored: _Scored, naming: Bool[np.ndarray, "descriptor label"]) -> Rates:
    """Returns what the best k of these descriptors reach, each neuron's chosen with its gold labels in view."""
    able = scored.gold & naming.max(axis=0)[None, :]
    right = (naming.astype(int) @ scored.gold.T.astype(int) > 0).sum(axis=0)
    precision = [float((np.minimum(right, k) / k).mean()) for k in _KS]
    # A descriptor may name several labels: the bound counts one label a tag, or all that one tag names if that is more.
    most = (naming.astype(int) @ scored.gold.T.astype(int)).max(axis=0, initial=0)
    recall = [
        float((np.minimum(np.maximum(k, k * most), able.sum(axis=1)) / scored.gold.sum(axis=1)).mean()) for k in _KS
    ]
    return Rates(precision[0], precision[1], recall[0], recall[1], float((right > 0).mean()))


def _table_of(
    labels: Labels, half_b: Bool[np.ndarray, " all"]
) -> tuple[list[str], Int[np.ndarray, " label"], Float32[np.ndarray, "text label"]]:
    """Returns names, group numbers and the table of all labels on half B."""
    names, groups, columns = [], [], []
    for number, (group, of_group) in enumerate(labels.items()):
        for label, mask in of_group.items():
            if len(mask) != len(half_b):
                raise DataError(f"Label {label!r} of {group!r} has {len(mask)} values for {len(half_b)} texts.")
            names.append(f"{group}:{label}")
            groups.append(number)
            columns.append(np.asarray(mask, np.float32)[half_b])
    if not names:
        raise DataError("There is no label to compare with.")
    return names, np.array(groups), np.stack(columns, axis=1)
