"""How alike the layers of two models are, or those of one: CKA, SVCCA and PWCCA, from their moments alone.

    cka     ‖X'Y‖² / (‖X'X‖ ‖Y'Y‖), centred, Frobenius norms: 1 for layers that differ by rotation and scale
    svcca   mean canonical correlation of the principal directions that hold 99 % of each layer's variance
    pwcca   mean canonical correlation, each weighted by how much of the first layer its direction accounts for;
            unlike the others it is not symmetric

CCA sees no invertible linear map, so layers are only as far apart as their subspaces; with few words everything is
alike. So each figure has its **chance** beside it, the value for shuffled words, which needs no shuffling: the mean
over all orders of the words of ‖X'Y‖² is tr(X'X) tr(Y'Y) / (n - 1), and that of the mean squared canonical
correlation of p and q directions max(p, q) / (n - 1). For SVCCA and PWCCA chance is its root, which the mean of
correlations does not exceed in the mean.

Products are gathered in float32, so a direction with less than 1e-5 of a layer's mean variance is rounding, and is left
out of PWCCA.

Reference: Kornblith et al. 2019, "Similarity of Neural Network Representations Revisited", section 3; Raghu et al.
2017, "SVCCA", section 2; Morcos et al. 2018, "Insights on representational similarity in neural networks with canonical
correlation", section 3; Bau et al. 2019, "Identifying and Controlling Important Neurons in Neural Machine Translation",
section 3 (SVCCA).
"""

from dataclasses import dataclass, field
from typing import Literal, NamedTuple, get_args

import numpy as np
from jaxtyping import Float64

from lca_jax.axes import NeuronAxis
from lca_jax.errors import DataError, SettingsError
from lca_jax.gathering.cross_moments import CrossMoments, layer_slices
from lca_jax.tables import html_table, text_table

Measure = Literal["cka", "svcca", "pwcca"]
VARIANCE = 0.99
"""Share of a layer's variance that SVCCA keeps."""
_White = Float64[np.ndarray, "_neuron _direction"]
_LEAST_VARIANCE = 1e-5
"""Share of the mean variance of a layer's directions below which one is rounding."""


@dataclass(frozen=True, kw_only=True, repr=False)
class LayerSimilarity:
    """How alike every layer of one model is to every layer of another, or of itself."""

    measure: Measure
    """The measure."""
    names: tuple[str, str]
    """Names of the two models."""
    axes: tuple[NeuronAxis, NeuronAxis]
    """Their neurons."""
    values: Float64[np.ndarray, "layer other_layer"] = field(repr=False)
    """Similarity, 0 to 1."""
    chance: Float64[np.ndarray, "layer other_layer"] = field(repr=False)
    """The similarity of shuffled words."""

    def __repr__(self) -> str:
        """Describes the similarity in a table, one row a layer of the first model."""
        return text_table(self.table(), caption=self._caption(), rows=len(self.values))

    def _repr_html_(self) -> str:
        return html_table(self.table(), caption=self._caption(), rows=len(self.values))

    def table(self) -> dict[str, list[object]]:
        """Returns one row a layer of the first model, and a column for every layer of the second."""
        one, other = self.axes
        columns = zip(other.layer_names, self.values.T, strict=True)
        return {"layer": [*one.layer_names], **{name: values.tolist() for name, values in columns}}

    def _caption(self) -> str:
        low, high = self.chance.min(), self.chance.max()
        return (
            f"{self.measure} of {self.names[0]} (rows) with {self.names[1]}; of shuffled words {low:.2g} to {high:.2g}"
        )


class CanonicalDirections(NamedTuple):
    """Directions of two layers that are correlated as much as any, one pair after the other."""

    correlations: Float64[np.ndarray, " direction"]
    """Canonical correlations, falling."""
    one: Float64[np.ndarray, "neuron direction"]
    """Weights of the neurons of the first layer; the weighted sums have the variance 1 and are uncorrelated."""
    other: Float64[np.ndarray, "other_neuron direction"]
    """Weights of the neurons of the second layer."""
    kept: tuple[int, int]
    """Number of principal directions of each layer among which these were found."""

    def erased(self, count: int, *, last: bool = False) -> Float64[np.ndarray, "neuron erased"]:
        """Returns an orthonormal basis Q of what is lost of the first layer without some of its directions.

        The states x - (xQ)Qᵀ are the projections to the directions that are left, E·C(CᵀC)⁻¹Cᵀ of Bau et al., section
        4: besides the directions that are taken away, all is lost that is in none of them.

        Args:
            count: Number of directions that are taken away.
            last: Whether the least correlated ones are taken, as a control.

        Raises:
            SettingsError: There are not as many directions.
        """
        if not 0 <= count <= len(self.correlations):
            raise SettingsError(f"`count` must be in 0 to {len(self.correlations)} directions, got {count}.")
        left = self.one[:, : len(self.correlations) - count] if last else self.one[:, count:]
        whole, _ = np.linalg.qr(left, mode="complete")
        return whole[:, left.shape[1] :]


def layer_similarity(
    moments: CrossMoments, measure: Measure = "cka", *, one: int = 0, other: int | None = None
) -> LayerSimilarity:
    """Compares every layer of a model with every layer of another one, or of itself.

    Args:
        moments: Moments of models with each other, with products within layers.
        measure: `cka`, `svcca` or `pwcca`.
        one: Number of the model whose layers are the rows.
        other: Number of the model whose layers are the columns; None for the second model, or the only one.

    Raises:
        SettingsError: The measure is unknown, the two models were not compared, or products within layers were not
            gathered.
        DataError: No neuron of a layer varies.
    """
    if measure not in get_args(Measure):
        raise SettingsError(f"`measure` must be one of {', '.join(get_args(Measure))}, got {measure!r}.")
    if other is None:
        other = min(1, len(moments.names) - 1)
    moments.across(moments.whole, one, other)  # before long work: were the two compared?
    found = _by_cka(moments, one, other) if measure == "cka" else _by_cca(moments, one, other, measure)
    return LayerSimilarity(
        measure=measure,
        names=(moments.names[one], moments.names[other]),
        axes=(moments.axes[one], moments.axes[other]),
        values=found[0],
        chance=found[1],
    )


def canonical_directions(
    moments: CrossMoments,
    layer: int,
    other_layer: int,
    *,
    one: int = 0,
    other: int = 1,
    variance: float | None = VARIANCE,
) -> CanonicalDirections:
    """Finds the directions in which two layers agree best: those of SVCCA, by which Bau et al. erase.

    Args:
        moments: Moments of models with each other, with products within layers.
        layer: Number of the layer of the first model, among those that were read.
        other_layer: Number of the layer of the second model.
        one: Number of the first model.
        other: Number of the second model.
        variance: Share of each layer's variance whose principal directions are kept, in (0, 1]; None for all that are
            not rounding (CCA).

    Raises:
        SettingsError: A layer is unknown, the models were not compared, or a number is out of its range.
        DataError: No neuron of a layer varies.
    """
    if variance is not None and not 0 < variance <= 1:
        raise SettingsError(f"`variance` must be in (0, 1], got {variance}. SVCCA keeps 0.99.")
    for model, chosen in ((one, layer), (other, other_layer)):
        if not 0 <= model < len(moments.axes) or not 0 <= chosen < len(moments.axes[model].blocks):
            raise SettingsError(f"There is no layer {chosen} among those that were read of model {model}.")
    whites = _whitening(moments, one, layer, variance), _whitening(moments, other, other_layer, variance)
    return _directions(moments, (one, layer), (other, other_layer), whites)


def _by_cka(
    moments: CrossMoments, one: int, other: int
) -> tuple[Float64[np.ndarray, "layer other_layer"], Float64[np.ndarray, "layer other_layer"]]:
    sizes = [
        [
            _norm_and_trace(moments.within(moments.whole, model, layer))
            for layer in range(len(moments.axes[model].blocks))
        ]
        for model in (one, other)
    ]
    (norms, traces), (other_norms, other_traces) = (np.array(of_model).T for of_model in sizes)
    if (norms == 0).any() or (other_norms == 0).any():
        raise DataError("A layer of which no neuron varies is like no other. Leave it out: `layers=`.")
    across = moments.across(moments.whole, one, other)
    columns = layer_slices(moments.axes[other])
    squares = [
        [float((across[rows, own].astype(np.float64) ** 2).sum()) for own in columns]
        for rows in layer_slices(moments.axes[one])
    ]
    both = norms[:, None] * other_norms[None, :]
    chance = traces[:, None] * other_traces[None, :] / (moments.words - 1)
    return np.array(squares) / both, chance / both


def _norm_and_trace(products: np.ndarray) -> tuple[float, float]:
    return float(np.linalg.norm(products.astype(np.float64))), float(np.trace(products, dtype=np.float64))


def _whitening(
    moments: CrossMoments, model: int, layer: int, variance: float | None
) -> Float64[np.ndarray, "neuron direction"]:
    """Returns the weights that make a layer's principal directions uncorrelated and of one length."""
    products = moments.within(moments.whole, model, layer).astype(np.float64)
    values, vectors = np.linalg.eigh(products)
    values, vectors = np.maximum(values[::-1], 0), vectors[:, ::-1]
    total = values.sum()
    if total == 0:
        raise DataError(f"No neuron of {moments.axes[model].layer_names[layer]} of {moments.names[model]} varies.")
    kept = int((values > _LEAST_VARIANCE * values.mean()).sum())
    if variance is not None:
        kept = min(kept, int(np.searchsorted(np.cumsum(values) / total, variance * (1 - 1e-12))) + 1)
    return vectors[:, :kept] / np.sqrt(values[:kept])


def _directions(
    moments: CrossMoments, first: tuple[int, int], second: tuple[int, int], whites: tuple[_White, _White]
) -> CanonicalDirections:
    (one, layer), (other, other_layer) = first, second
    rows, columns = layer_slices(moments.axes[one])[layer], layer_slices(moments.axes[other])[other_layer]
    across = moments.across(moments.whole, one, other)[rows, columns].astype(np.float64)
    left, correlations, right = np.linalg.svd(whites[0].T @ across @ whites[1], full_matrices=False)
    unit = np.sqrt(moments.words)
    return CanonicalDirections(
        correlations=np.clip(correlations, 0, 1),
        one=whites[0] @ left * unit,
        other=whites[1] @ right.T * unit,
        kept=(whites[0].shape[1], whites[1].shape[1]),
    )


def _by_cca(
    moments: CrossMoments, one: int, other: int, measure: Measure
) -> tuple[Float64[np.ndarray, "layer other_layer"], Float64[np.ndarray, "layer other_layer"]]:
    variance = VARIANCE if measure == "svcca" else None
    whites = {
        (model, layer): _whitening(moments, model, layer, variance)
        for model in {one, other}
        for layer in range(len(moments.axes[model].blocks))
    }
    shape = (len(moments.axes[one].blocks), len(moments.axes[other].blocks))
    values, chance = np.zeros(shape), np.zeros(shape)
    for layer, other_layer in np.ndindex(shape):
        pair = whites[one, layer], whites[other, other_layer]
        found = _directions(moments, (one, layer), (other, other_layer), pair)
        weights = np.ones(len(found.correlations))
        if measure == "pwcca":
            # Products of the canonical variates with the neurons of the first layer.
            weights = np.abs(found.one.T @ moments.within(moments.whole, one, layer)).sum(axis=1)
        values[layer, other_layer] = np.average(found.correlations, weights=weights)
        chance[layer, other_layer] = min(1.0, np.sqrt(max(found.kept) / (moments.words - 1)))
    return values, chance
