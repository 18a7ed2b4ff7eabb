"""Ranks the neurons of a model by how well the neurons of other models follow them: MaxCorr and MinCorr.

A neuron that models find again, each from its own start or its own data, is taken to be important. The score of neuron
i is the largest |ρ| with any neuron of any other model (MaxCorr), or the smallest over the other models of the largest
|ρ| with a neuron of each (MinCorr). The papers disagree about the sign: the formula of Dalvi et al. has none of the
bars, Bau et al. and the code of both take the magnitude, both to choose the partner and to score. A neuron of the
opposite sign says the same, so the magnitude is the rule here too; the partner's correlation is told with its sign, and
`signed=True` is the printed formula.

Scores mean nothing by themselves: the largest of thousands of correlations is never small. So every ranking has the
scores of drawn neurons at shuffled words (`null`), and what they exceed in one of twenty (`chance`).

Reference: Dalvi et al. 2019, "What Is One Grain of Sand in the Desert?", section "Cross-model Correlation Analysis";
Bau et al. 2019, "Identifying and Controlling Important Neurons in Neural Machine Translation", section 3.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float32, Float64, Int, Shaped

from lca_jax.axes import Neuron, NeuronAxis
from lca_jax.gathering.cross_moments import CrossMoments
from lca_jax.ranking.ranking import Ranking, rank_by_scores

CHANCE = 0.95
"""Share of the drawn neurons at shuffled words whose score is at most `chance`."""


@dataclass(frozen=True, kw_only=True)
class Partners:
    """The best partner of every neuron of a model among the neurons of another one."""

    model: int
    """Number of the other model."""
    name: str
    """Its name."""
    axis: NeuronAxis
    """The neuron of each of its columns."""
    columns: Int[np.ndarray, " feature"] = field(repr=False)
    """Column there of every neuron's partner."""
    correlation: Float64[np.ndarray, " feature"] = field(repr=False)
    """Pearson's correlation with it, with its sign; 0 for a neuron that never changes."""


class Partner(NamedTuple):
    """A neuron of another model."""

    model: str
    neuron: Neuron
    correlation: float


@dataclass(frozen=True, kw_only=True, repr=False)
class CrossModelRanking(Ranking):
    """A ranking of the neurons of one of several models, with every neuron's partners in the others."""

    partners: tuple[Partners, ...]
    """The partners in each other model."""
    null: Float64[np.ndarray, " drawn"]
    """Scores of drawn neurons at shuffled words, ascending; none where no null was gathered."""

    @property
    def chance(self) -> float | None:
        """The score that a neuron exceeds in one of twenty cases if its words are shuffled; None without a null."""
        return float(np.quantile(self.null, CHANCE)) if len(self.null) else None

    @property
    def above_chance(self) -> int | None:
        """Number of neurons whose score is above chance; None without a null."""
        return None if self.chance is None else int((self.scores > self.chance).sum())

    def partners_of(self, neuron: Neuron) -> list[Partner]:
        """Returns the best partner of a neuron in each other model.

        Raises:
            SettingsError: The ranking does not have the neuron.
        """
        column = self.axis.column(neuron)
        return [
            Partner(of.name, of.axis.neuron(int(of.columns[column])), float(of.correlation[column]))
            for of in self.partners
        ]

    def table(self) -> dict[str, Shaped[np.ndarray, " rank"]]:
        """Returns the table of a ranking with the partner in every other model, and the correlation with it."""
        table = super().table()
        for of in self.partners:
            table[f"partner in {of.name}"] = np.array([str(n) for n in of.axis.neurons(of.columns[self.columns])])
            table[f"correlation with {of.name}"] = of.correlation[self.columns]
        return table

    def _caption(self) -> str:
        if self.chance is None:
            return super()._caption()
        return f"{super()._caption()}; {self.above_chance} are above {self.chance:.3g}, the chance of shuffled words"


def rank_by_max_correlation(moments: CrossMoments, *, of: int = 0, signed: bool = False) -> CrossModelRanking:
    """Ranks the neurons of a model by their largest correlation with a neuron of any other model (MaxCorr).

    Args:
        moments: Moments of the models' neurons with each other.
        of: Number of the model, from 0.
        signed: Whether a negative correlation counts as less than none (Dalvi et al. 2019, as printed).

    Raises:
        SettingsError: There is no model of this number, or no other one.
    """
    return _rank("max_corr", moments, of, signed=signed, pool=np.max)


def rank_by_min_correlation(moments: CrossMoments, *, of: int = 0, signed: bool = False) -> CrossModelRanking:
    """Ranks the neurons of a model by the least of their largest correlations with each other model (MinCorr).

    Args:
        moments: Moments of the models' neurons with each other.
        of: Number of the model, from 0.
        signed: Whether a negative correlation counts as less than none.

    Raises:
        SettingsError: There is no model of this number, or no other one.
    """
    return _rank("min_corr", moments, of, signed=signed, pool=np.min)


def best_partners(moments: CrossMoments, of: int, *, signed: bool = False) -> tuple[Partners, ...]:
    """Returns the best partner of every neuron of a model in each other model.

    Raises:
        SettingsError: There is no model of this number, or no other one.
    """
    return tuple(partners_in(moments, of, other, signed=signed) for other in moments.others(of))


def partners_in(moments: CrossMoments, of: int, other: int, *, signed: bool = False) -> Partners:
    """Returns the best partner of every neuron of a model in one other model."""
    squares, products = moments.whole.squares, moments.across(moments.whole, of, other)
    columns, correlation = _best(products, _inverse_root(squares[of]), _inverse_root(squares[other]), signed=signed)
    return Partners(
        model=other,
        name=moments.names[other],
        axis=moments.axes[other],
        columns=np.asarray(columns),
        correlation=np.clip(np.asarray(correlation, np.float64), -1, 1),
    )


def _rank(
    name: str, moments: CrossMoments, of: int, *, signed: bool, pool: Callable[..., Float64[np.ndarray, " neuron"]]
) -> CrossModelRanking:
    partners = best_partners(moments, of, signed=signed)
    magnitude = (lambda r: r) if signed else np.abs
    scores = pool([magnitude(other.correlation) for other in partners], axis=0)
    null = np.zeros(0)
    if moments.whole.shuffled:
        null = pool([magnitude(moments.null_correlation(of, other.model)).max(axis=1) for other in partners], axis=0)
    plain = rank_by_scores(f"{name} of {moments.names[of]}", moments.axes[of], scores)
    return CrossModelRanking(
        task=plain.task,
        axis=plain.axis,
        columns=plain.columns,
        scores=plain.scores,
        ties=plain.ties,
        partners=partners,
        null=np.sort(null),
    )


def _inverse_root(squares: Float64[np.ndarray, " feature"]) -> Float32[np.ndarray, " feature"]:
    """Returns 1 over the root; 0 where there is nothing."""
    return np.divide(1, np.sqrt(squares), out=np.zeros_like(squares), where=squares > 0).astype(np.float32)


@partial(jax.jit, static_argnames="signed")
def _best(
    products: Float32[Array | np.ndarray, "feature other"],
    one: Float32[Array | np.ndarray, " feature"],
    other: Float32[Array | np.ndarray, " other"],
    *,
    signed: bool,
) -> tuple[Int[Array, " feature"], Float32[Array, " feature"]]:
    """Returns for every row the column of the best correlation, and that correlation."""
    correlation = products * other[None, :]
    best = jnp.argmax(correlation if signed else jnp.abs(correlation), axis=1)
    return best, jnp.take_along_axis(correlation, best[:, None], axis=1)[:, 0] * one
