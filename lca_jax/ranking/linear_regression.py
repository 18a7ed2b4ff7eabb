"""Ranks the neurons of a model by how well a layer of another model predicts them linearly: LinReg.

Every neuron is regressed on all neurons of one layer of another model, with a small ridge. Sentences are in three
parts: the regression is fitted to the first, its ridge and the layer are chosen for each neuron on the second, and the
score is R² on the third. The published procedure has no ridge and scores in sample, which says nothing where there are
about as many neurons as words: R² was 1.00 there and -2.8 on other words. R² in sample is told beside, to be compared.
Nothing but moments is needed, so no activation is read.

Reference: Bau et al. 2019, "Identifying and Controlling Important Neurons in Neural Machine Translation", section 3.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

import numpy as np
from jaxtyping import Float64, Int, Shaped

from lca_jax.axes import NeuronAxis
from lca_jax.errors import SettingsError
from lca_jax.gathering.cross_moments import CrossMoments, PartMoments, layer_slices
from lca_jax.ranking.ranking import Ranking, rank_by_scores

RIDGES = (1e-4, 1e-3, 1e-2, 1e-1)
"""Ridges that are tried: the share of a standardised neuron's variance that is added to it."""


@dataclass(frozen=True, kw_only=True)
class Regressions:
    """The regressions of every neuron of a model on the layers of another one."""

    model: int
    """Number of the other model."""
    name: str
    """Its name."""
    axis: NeuronAxis
    """The neuron of each of its columns."""
    r2: Float64[np.ndarray, " feature"] = field(repr=False)
    """R² on the sentences that measure, below 0 where the mean is a better guess; 0 for a neuron that never changes."""
    in_sample: Float64[np.ndarray, " feature"] = field(repr=False)
    """R² on the sentences of the fit."""
    layers: Int[np.ndarray, " feature"] = field(repr=False)
    """Number of the layer that was chosen, among those that were read."""
    ridges: Float64[np.ndarray, " feature"] = field(repr=False)
    """The ridge that was chosen."""


@dataclass(frozen=True, kw_only=True, repr=False)
class RegressionRanking(Ranking):
    """A ranking of the neurons of one of several models, with the regressions behind it."""

    regressions: tuple[Regressions, ...]
    """Those on each other model."""

    def table(self) -> dict[str, Shaped[np.ndarray, " rank"]]:
        """Returns the table of a ranking with R² held out and in sample, and the layer, for every other model."""
        table = super().table()
        for of in self.regressions:
            names = np.array(of.axis.layer_names)
            table[f"R2 from {of.name}"] = of.r2[self.columns]
            table[f"R2 in sample from {of.name}"] = of.in_sample[self.columns]
            table[f"layer of {of.name}"] = names[of.layers[self.columns]]
        return table


def rank_by_linear_regression(
    moments: CrossMoments,
    *,
    of: int = 0,
    ridges: Sequence[float] = RIDGES,
    pool: Literal["max", "min"] = "max",
) -> RegressionRanking:
    """Ranks the neurons of a model by R² on held-out sentences, predicted by the layer of another model (LinReg).

    Args:
        moments: Moments with held-out parts and products within layers.
        of: Number of the model, from 0.
        ridges: Ridges that are tried, each above 0.
        pool: Whether the best or the worst of the other models counts.

    Raises:
        SettingsError: There is no model of this number, or no other one; no part was held out; a ridge is not above 0;
            `pool` is unknown.
    """
    if len(moments.parts) != 3:
        raise SettingsError(
            "A regression is measured on sentences that it was not fitted to: `correlate_models(…, held_out=0.2)`."
        )
    if not ridges or min(ridges) <= 0 or pool not in ("max", "min"):
        raise SettingsError(f"`ridges` must be above 0 and `pool` max or min, got {list(ridges)} and {pool!r}.")
    regressions = tuple(_regress(moments, of, other, ridges) for other in moments.others(of))
    scores = {"max": np.max, "min": np.min}[pool]([each.r2 for each in regressions], axis=0)
    plain = rank_by_scores(f"lin_reg of {moments.names[of]}", moments.axes[of], scores)
    return RegressionRanking(
        task=plain.task,
        axis=plain.axis,
        columns=plain.columns,
        scores=plain.scores,
        ties=plain.ties,
        regressions=regressions,
    )


class _Projected(NamedTuple):
    """Moments of one part in the directions of a layer, as regressions on that layer need them."""

    with_each_other: Float64[np.ndarray, "direction _direction"]
    with_targets: Float64[np.ndarray, "direction feature"]
    apart: Float64[np.ndarray, " direction"]
    """How far the means of this part are from those of the part that is fitted to."""
    targets_apart: Float64[np.ndarray, " feature"]
    words: int
    total: Float64[np.ndarray, " feature"]
    """Summed squares of the targets around the mean of this part."""

    def r2(self, weights: Float64[np.ndarray, "direction feature"]) -> Float64[np.ndarray, " feature"]:
        """Returns R² of regressions, around the mean of this part."""
        explained = (weights * (2 * self.with_targets - self.with_each_other @ weights)).sum(axis=0)
        left = explained - self.words * (self.targets_apart - self.apart @ weights) ** 2
        return np.divide(left, self.total, out=np.zeros_like(left), where=self.total > 0)


def _regress(moments: CrossMoments, of: int, other: int, ridges: Sequence[float]) -> Regressions:
    size = moments.axes[of].size
    best, r2, in_sample = (np.full(size, -np.inf) for _ in range(3))
    layers, chosen = np.zeros(size, np.int64), np.zeros(size)
    for layer in range(len(moments.axes[other].blocks)):
        values, directions = _directions(moments, other, layer)
        to_fit, to_choose, to_measure = (
            _project(moments, part, directions, of, other, layer) for part in moments.parts
        )
        ridge, on_choice = _best_ridge(values, to_fit, to_choose, ridges)
        weights = to_fit.with_targets / (values[:, None] + ridge[None])
        better = on_choice > best
        best = np.where(better, on_choice, best)
        layers, chosen = np.where(better, layer, layers), np.where(better, ridge, chosen)
        r2 = np.where(better, to_measure.r2(weights), r2)
        in_sample = np.where(better, to_fit.r2(weights), in_sample)
    return Regressions(
        model=other,
        name=moments.names[other],
        axis=moments.axes[other],
        r2=r2,
        in_sample=in_sample,
        layers=layers,
        ridges=chosen,
    )


def _best_ridge(
    values: Float64[np.ndarray, " direction"], to_fit: _Projected, to_choose: _Projected, ridges: Sequence[float]
) -> tuple[Float64[np.ndarray, " feature"], Float64[np.ndarray, " feature"]]:
    """Returns the ridge with the largest R² on the sentences that choose, for every target, and that R²."""
    scores = [to_choose.r2(to_fit.with_targets / (values[:, None] + ridge)) for ridge in ridges]
    place = np.argmax(scores, axis=0)
    return np.array(ridges, np.float64)[place], np.max(scores, axis=0)


def _directions(
    moments: CrossMoments, other: int, layer: int
) -> tuple[Float64[np.ndarray, " direction"], Float64[np.ndarray, "neuron direction"]]:
    """Returns eigenvalues and eigenvectors of a layer's correlations: one decomposition serves all ridges.

    The eigenvectors are in the scale of the neurons; one that never changes has no part in them.
    """
    products = moments.within(moments.parts[0], other, layer).astype(np.float64)
    deviation = np.sqrt(np.diagonal(products))
    scale = np.divide(1, deviation, out=np.zeros_like(deviation), where=deviation > 0)
    values, vectors = np.linalg.eigh(products * scale[:, None] * scale[None, :])
    return np.maximum(values, 0), vectors * scale[:, None]


def _project(
    moments: CrossMoments,
    part: PartMoments,
    directions: Float64[np.ndarray, "neuron direction"],
    of: int,
    other: int,
    layer: int,
) -> _Projected:
    own, fitted = layer_slices(moments.axes[other])[layer], moments.parts[0]
    return _Projected(
        with_each_other=directions.T @ moments.within(part, other, layer) @ directions,
        with_targets=directions.T @ moments.across(part, other, of)[own],
        apart=directions.T @ (part.means[other][own] - fitted.means[other][own]),
        targets_apart=part.means[of] - fitted.means[of],
        words=part.words,
        total=part.squares[of],
    )
