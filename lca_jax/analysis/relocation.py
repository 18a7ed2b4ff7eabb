"""Where the salient neurons of a task sit before and after a change of the model, such as fine-tuning.

The first neurons of two rankings of the same axis are counted by layer. The shift of their mean layer is told with its
error over the sentences, which comes from complementary half-samples (`analysis.half_intervals`). Both rankings are
made on the same halves, so that what is due to the words alone cancels. The overlap of the two first parts stands
beside its noise ceiling (`analysis.agreement`): even the same model, probed on other words, would not reach 1.

The error is that of one tuned model. How far another seed of the tuning moves the neurons is measured by tuning again.

Reference: Durrani et al. 2023, section 5.4 and Figures 8 and 12.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from jaxtyping import Float64

from lca_jax.analysis.agreement import AgreementPoint, agreement
from lca_jax.analysis.half_intervals import Interval, interval_of_halves
from lca_jax.analysis.overlap import counts_of, first_part
from lca_jax.analysis.stability import measure_stability
from lca_jax.axes import NeuronAxis
from lca_jax.errors import SettingsError
from lca_jax.probing.halves import check_pairs
from lca_jax.ranking.ranking import Ranking
from lca_jax.tables import html_table, text_table

Verdict = Literal["lower", "higher", "within noise"]


@dataclass(frozen=True, kw_only=True, repr=False)
class Relocation:
    """The salient neurons of a task in a model before and after."""

    task: str
    axis: NeuronAxis
    """The neuron of each column, the same before and after."""
    neurons: int
    """Number of salient neurons: the first ones of each ranking."""
    layers_before: Float64[np.ndarray, " layer"] = field(repr=False)
    """Number of them in each block of the axis, before; fractions where a ranking leaves some without order."""
    layers_after: Float64[np.ndarray, " layer"] = field(repr=False)
    """The same after."""
    centre_before: Interval
    """Their mean layer number before."""
    centre_after: Interval
    """The same after."""
    shift: Interval
    """Mean layer after, less that before; paired by the halves."""
    overlap: AgreementPoint
    """Share of the neurons that are salient both before and after, beside chance and noise ceiling."""

    @property
    def verdict(self) -> Verdict:
        """Whether the neurons moved: to `lower` layers, to `higher` ones, or no further than the words' noise."""
        if self.shift.high < 0:
            return "lower"
        return "higher" if self.shift.low > 0 else "within noise"

    def __repr__(self) -> str:
        """Describes the shift in two lines, and the layers in a table."""
        return text_table(self.table(), caption=self._caption(), rows=len(self.axis.blocks))

    def _repr_html_(self) -> str:
        return html_table(self.table(), caption=self._caption())

    def table(self) -> dict[str, list[object]]:
        """Returns one row a layer, as columns of equal length, ready for `pandas.DataFrame(...)`."""
        return {
            "layer": list(self.axis.layer_names),
            "before": self.layers_before.tolist(),
            "after": self.layers_after.tolist(),
        }

    def _caption(self) -> str:
        point = self.overlap
        centres = f"{self.centre_before.value:.2f} to {self.centre_after.value:.2f}"
        return (
            f"{self.task}: the mean layer of the first {self.neurons} neurons moved from {centres}, by "
            f"{self.shift.value:+.2f} ({self.shift.low:+.2f} to {self.shift.high:+.2f}): {self.verdict}\n"
            f"{point.overlap:.2f} of them are the same; {point.chance:.2f} by chance, {point.ceiling or 0:.2f} as far "
            "as words allow"
        )


def measure_relocation(
    before: Ranking,
    after: Ranking,
    *,
    halves_before: Sequence[Ranking],
    halves_after: Sequence[Ranking],
    share: float = 0.1,
) -> Relocation:
    """Compares the salient neurons of a task before and after a change of the model.

    Args:
        before: Ranking of all words before.
        after: Ranking of the same neurons after.
        halves_before: Rankings of complementary half-samples before (`rank_samples`); the first two are of one
            division, and so on.
        halves_after: The same after: of the same words in the same order, hence of one seed.
        share: Share of the neurons that count as salient, in (0, 1].

    Raises:
        SettingsError: The rankings order different neurons, the halves are not pairs or not as many before as after, or
            the share is out of its range.
    """
    if len(halves_before) != len(halves_after):
        raise SettingsError(
            f"The halves before and after must be of the same words, got {len(halves_before)} and {len(halves_after)}."
        )
    if not halves_before:
        raise SettingsError("The noise is that of half-samples: give two rankings of halves or more.")
    check_pairs(len(halves_before))
    reliability = tuple(measure_stability(halves, shares=(share,)) for halves in (halves_before, halves_after))
    (point,) = agreement(before, after, reliability=(reliability[0], reliability[1]), shares=(share,)).points
    (count,) = counts_of((share,), len(before.columns))
    centres = [np.array([_centre(half, count) for half in halves]) for halves in (halves_before, halves_after)]
    whole = [_centre(ranking, count) for ranking in (before, after)]
    return Relocation(
        task=before.task,
        axis=before.axis,
        neurons=count,
        layers_before=_by_layer(before, count),
        layers_after=_by_layer(after, count),
        centre_before=interval_of_halves(whole[0], centres[0]),
        centre_after=interval_of_halves(whole[1], centres[1]),
        shift=interval_of_halves(whole[1] - whole[0], centres[1] - centres[0]),
        overlap=point,
    )


def _by_layer(ranking: Ranking, count: int) -> Float64[np.ndarray, " layer"]:
    axis = ranking.axis
    return np.bincount(axis.block_of_column, weights=first_part(ranking, count), minlength=len(axis.blocks))


def _centre(ranking: Ranking, count: int) -> float:
    numbers = np.array([block.layer for block in ranking.axis.blocks], np.float64)
    return float(_by_layer(ranking, count) @ numbers / count)
