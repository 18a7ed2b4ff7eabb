"""How far two rankings of the same neurons agree: methods, models, languages, or the same thing on other data.

Two rankings that were made on samples differ by the samples too. So overlap is told beside two others: that of random
orders, and the **noise ceiling** √(r_a · r_b), the overlap that two rankings of one and the same order would have, with
r each ranking's own split-half overlap (`analysis.stability`). An agreement near the ceiling shows no difference of
methods; one well below it does. Split-half overlap is that of half the words, so the ceiling is a low one: whole
rankings may exceed it.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from lca_jax.analysis.overlap import (
    SHARES,
    chance_overlap,
    counts_of,
    first_part,
    overlap,
    refuse_other_axes,
    tied_ranks,
)
from lca_jax.analysis.stability import Stability
from lca_jax.errors import SettingsError
from lca_jax.ranking.ranking import Ranking
from lca_jax.tables import html_table, text_table


@dataclass(frozen=True, kw_only=True)
class AgreementPoint:
    """The first parts of one size."""

    share: float
    """Share of all neurons."""
    neurons: int
    """Their number."""
    overlap: float
    """Share of them that both rankings have."""
    chance: float
    """The same for two random orders, in the mean."""
    chance_high: float
    """The share that two random orders exceed with a probability of at most 2.5 %."""
    ceiling: float | None
    """The overlap that the rankings' own reliability allows; None if it is not known."""
    of_ceiling: float | None
    """Overlap above chance as a share of the ceiling above chance: 0 for chance, 1 for as much as their reliability
    allows; None if the ceiling is not known, or not above chance."""


@dataclass(frozen=True, kw_only=True, repr=False)
class Agreement:
    """How far two rankings agree."""

    tasks: tuple[str, str]
    """The tasks of both."""
    neurons: int
    """Number of neurons."""
    correlation: float | None
    """Spearman's correlation of the ranks, tied neurons at the mean rank of their block; None if one has no order."""
    points: tuple[AgreementPoint, ...]
    """Overlap by size of the first part."""

    def __repr__(self) -> str:
        """Describes both in one line, and the overlap in a table."""
        return text_table(self.table(), caption=self._caption())

    def _repr_html_(self) -> str:
        return html_table(self.table(), caption=self._caption())

    def table(self) -> dict[str, list[object]]:
        """Returns one row a share of the neurons, as columns of equal length, ready for `pandas.DataFrame(...)`."""
        names = ("share", "neurons", "overlap", "chance", "chance_high", "ceiling", "of_ceiling")
        return {name: [getattr(point, name) for point in self.points] for name in names}

    def _caption(self) -> str:
        one, other = self.tasks
        what = one if one == other else f"{one} and {other}"
        rank = "not defined" if self.correlation is None else f"{self.correlation:.3f}"
        return f"Two rankings of {self.neurons} neurons for {what}: rank correlation {rank}"


def agreement(
    a: Ranking,
    b: Ranking,
    *,
    reliability: tuple[Stability, Stability] | None = None,
    shares: Sequence[float] = SHARES,
) -> Agreement:
    """Compares two rankings of the same neurons.

    Args:
        a: A ranking, overall, of a class (`ranking.by_class[name]`) or of groups.
        b: Another one.
        reliability: The stability of both, for the noise ceiling, measured at the same shares; None for no ceiling.
        shares: Shares of the neurons at which overlap is told, each in (0, 1].

    Raises:
        SettingsError: The rankings, or the stability of one, order different neurons; a share is out of its range, or
            stability was not measured there.
    """
    refuse_other_axes([a, b])
    ceilings = _ceilings(a, reliability, shares)
    points = []
    for share, count in zip(shares, counts_of(shares, len(a.columns)), strict=True):
        found = overlap(first_part(a, count), first_part(b, count), count)
        chance, ceiling = chance_overlap(count, len(a.columns)), ceilings.get(share)
        above = ceiling is not None and ceiling > chance.overlap
        points.append(
            AgreementPoint(
                share=share,
                neurons=count,
                overlap=found,
                chance=chance.overlap,
                chance_high=chance.high,
                ceiling=ceiling,
                of_ceiling=(found - chance.overlap) / (ceiling - chance.overlap) if ceiling and above else None,
            )
        )
    return Agreement(
        tasks=(a.task, b.task), neurons=len(a.columns), correlation=_correlation(a, b), points=tuple(points)
    )


def _correlation(a: Ranking, b: Ranking) -> float | None:
    one, other = (tied_ranks(ranking) for ranking in (a, b))
    if any(len(np.unique(ranks)) < 2 for ranks in (one, other)):
        return None
    return float(np.corrcoef(one, other)[0, 1])


def _ceilings(
    a: Ranking, reliability: tuple[Stability, Stability] | None, shares: Sequence[float]
) -> dict[float, float]:
    """Returns √(r_a · r_b) at each share."""
    if reliability is None:
        return {}
    found = []
    for stability in reliability:
        if stability.axis != a.axis:
            raise SettingsError("The stability of a ranking must be of the same neurons as the ranking.")
        of_share = {point.share: point.overlap for point in stability.points}
        if missing := [share for share in shares if share not in of_share]:
            raise SettingsError(
                f"Stability was measured at shares {list(of_share)}, not at {missing[0]}. Give both the same."
            )
        found.append(of_share)
    one, other = found
    return {share: float(np.sqrt(one[share] * other[share])) for share in shares}
