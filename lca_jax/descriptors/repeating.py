"""Whether another inventory says the same of a neuron: tags by two prompts, seeds, generators or scorers, compared.

Two inventories name things differently ("camera", "photo quality"), so their descriptors are paired by where they are
present: one to one, with the largest sum of correlations over the texts, and only pairs of a smallest correlation are
one descriptor. A neuron's tags of both are then compared as those of two halves are (`agreement`).
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from scipy.optimize import linear_sum_assignment

from lca_jax.descriptors.agreement import Overlap, measure_overlap
from lca_jax.descriptors.describing import Descriptions, signed_tags
from lca_jax.descriptors.matching import correlate
from lca_jax.errors import SettingsError
from lca_jax.tables import text_table


class SameDescriptor(NamedTuple):
    """A descriptor of the first inventory and the one of the second that is present in the same texts."""

    first: str
    second: str
    r: float
    """Correlation of their presence over all texts."""


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class TagAgreement:
    """How far the tags by two inventories of the same texts agree."""

    pairs: tuple[SameDescriptor, ...]
    """Descriptors that count as one, the surest first."""
    alone: tuple[int, int]
    """Number of descriptors of each inventory that have no partner: no tag of them can agree."""
    overlap: Overlap
    """Jaccard overlap of every neuron's signed tags, its mean with interval, and between other neurons."""

    def __repr__(self) -> str:
        shown = self.pairs[:10]
        overlap = self.overlap
        return text_table(
            {
                "descriptor": [pair.first for pair in shown],
                "in the second": [pair.second for pair in shown],
                "r": [pair.r for pair in shown],
            },
            caption=f"tags agree by {overlap.mean:.2f} ({overlap.low:.2f} to {overlap.high:.2f}), those of other "
            f"neurons by {overlap.other_neurons:.2f}; {len(self.pairs)} descriptors in common, "
            f"{self.alone[0]} and {self.alone[1]} alone",
        )


def compare_descriptions(
    first: Descriptions, second: Descriptions, *, same: float = 0.5, seed: int = 0
) -> TagAgreement:
    """Compares the tags that two inventories of the same texts give the same neurons.

    Args:
        first: Descriptions by one inventory.
        second: Descriptions by another, of the same store and with the same seed of the halves.
        same: Smallest correlation between the presence of two descriptors that count as one, above 0.
        seed: Seed of the null and of the interval.

    Returns:
        The overlap of each neuron's tags on half A, its mean over neurons that have a tag by either, and its null.

    Raises:
        SettingsError: The neurons, texts or halves differ, or `same` is not above 0 and at most 1.

    Reference: Mondal et al. 2024, abstract (consistency over repetitions, as Jaccard overlap); the pairing is our own.
    """
    if not 0 < same <= 1:
        raise SettingsError(f"`same` must be above 0 and at most 1, got {same}.")
    if (first.axis, first.explained) != (second.axis, second.explained):
        raise SettingsError("The descriptions are of other neurons. Describe the neurons of one store by both.")
    if first.found.texts.asked() != second.found.texts.asked() or (first.half_a != second.half_a).any():
        raise SettingsError(
            "The descriptions were made on other texts or halves. Find both inventories in the same texts, and "
            "describe with the same seed."
        )
    r = correlate(first.found.presence, second.found.presence)
    rows, columns = linear_sum_assignment(r, maximize=True)
    kept = r[rows, columns] >= same
    rows, columns = rows[kept], columns[kept]
    number = np.arange(len(second.found.names)) + len(first.found.names)  # of its own, unless it has a partner
    number[columns] = rows
    renumbered = second.tags._replace(descriptors=number[second.tags.descriptors])
    order = np.argsort(-r[rows, columns], kind="stable")
    return TagAgreement(
        pairs=tuple(
            SameDescriptor(
                first.found.names[rows[at]], second.found.names[columns[at]], float(r[rows[at], columns[at]])
            )
            for at in order
        ),
        alone=(len(first.found.names) - len(rows), len(second.found.names) - len(rows)),
        overlap=measure_overlap(signed_tags(first.tags), signed_tags(renumbered), seed=seed),
    )
