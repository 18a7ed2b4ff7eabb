"""Universal neurons: those that other models, trained from other seeds, have too, as single neurons.

A neuron's **excess** is its largest correlation with a neuron of another model, less the largest with a direction of
that model's layers turned at random, in the mean over the other models. Turned layers hold the same information, so a
neuron without excess is in the other models, but in no neuron of theirs. A neuron is universal where its excess is at
least one half; Gurnee et al. find 1 to 5 % of the neurons of five GPT-2 models universal.

The magnitude of correlations counts, as in `ranking.cross_model`; the paper takes the sign. Layers are turned by random
orthogonal matrices after their neurons are scaled to one variance, so that no channel with a large one is all of it.

Reference: Gurnee et al. 2024, "Universal Neurons in GPT2 Language Models", section 3.
"""

from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Bool, Float64

from lca_jax.axes import NeuronAxis
from lca_jax.errors import SettingsError
from lca_jax.gathering.cross_moments import CrossMoments, layer_slices
from lca_jax.ranking.cross_model import Partners, best_partners, partners_in
from lca_jax.tables import html_table, text_table


@dataclass(frozen=True, kw_only=True, repr=False)
class UniversalNeurons:
    """How far the neurons of a model are neurons of others too."""

    name: str
    """Name of the model."""
    axis: NeuronAxis
    """The neuron of each column."""
    least: float
    """Excess from which a neuron counts as universal."""
    partners: tuple[Partners, ...] = field(repr=False)
    """The best partner of every neuron in each other model."""
    correlation: Float64[np.ndarray, " feature"] = field(repr=False)
    """Mean over the other models of the largest magnitude of a correlation."""
    turned: Float64[np.ndarray, " feature"] = field(repr=False)
    """The same with the other models' layers turned at random."""
    mutual: Float64[np.ndarray, " feature"] = field(repr=False)
    """Share of the other models whose partner has this neuron as its own best partner."""

    @property
    def excess(self) -> Float64[np.ndarray, " feature"]:
        """Correlation with neurons less that with turned layers."""
        return self.correlation - self.turned

    @property
    def universal(self) -> Bool[np.ndarray, " feature"]:
        """Whether each neuron is universal."""
        return self.excess >= self.least

    def __repr__(self) -> str:
        """Says how many neurons are universal, and describes the layers in a table."""
        return text_table(self.table(), caption=self._caption(), rows=len(self.axis.blocks))

    def _repr_html_(self) -> str:
        return html_table(self.table(), caption=self._caption(), rows=len(self.axis.blocks))

    def table(self) -> dict[str, list[object]]:
        """Returns one row a layer, as columns of equal length, ready for `pandas.DataFrame(...)`."""
        layers = layer_slices(self.axis)
        return {
            "layer": [*self.axis.layer_names],
            "neurons": [own.stop - own.start for own in layers],
            "universal": [int(self.universal[own].sum()) for own in layers],
            "correlation": [float(np.median(self.correlation[own])) for own in layers],
            "turned": [float(np.median(self.turned[own])) for own in layers],
            "mutual": [float(self.mutual[own].mean()) for own in layers],
        }

    def _caption(self) -> str:
        return (
            f"{int(self.universal.sum())} of {self.axis.size} neurons of {self.name} are universal: their correlation "
            f"exceeds that with turned layers by {self.least:g} or more (medians by layer)"
        )


def universal_neurons(moments: CrossMoments, *, of: int = 0, least: float = 0.5, seed: int = 0) -> UniversalNeurons:
    """Tells which neurons of a model are single neurons of other models too.

    Args:
        moments: Moments of models with each other, trained from several seeds say, with products within layers.
        of: Number of the model, from 0.
        least: Excess from which a neuron counts as universal, in (0, 1].
        seed: Seed of the random turns.

    Raises:
        SettingsError: There is no model of this number, or no other one; products within layers were not gathered;
            `least` is out of its range.
    """
    if not 0 < least <= 1:
        raise SettingsError(f"`least` must be in (0, 1], got {least}. Gurnee et al. take 0.5.")
    partners = best_partners(moments, of)
    back = [partners_in(moments, other.model, of) for other in partners]
    neurons = np.arange(moments.axes[of].size)
    generator = np.random.default_rng(seed)
    return UniversalNeurons(
        name=moments.names[of],
        axis=moments.axes[of],
        least=least,
        partners=partners,
        correlation=np.mean([np.abs(other.correlation) for other in partners], axis=0),
        turned=np.mean([_with_turned(moments, of, other.model, generator) for other in partners], axis=0),
        mutual=np.mean(
            [own.columns[other.columns] == neurons for other, own in zip(partners, back, strict=True)], axis=0
        ),
    )


def _with_turned(
    moments: CrossMoments, of: int, other: int, generator: np.random.Generator
) -> Float64[np.ndarray, " feature"]:
    """Returns the largest magnitude of a correlation with a direction of another model's turned layers."""
    whole, best = moments.whole, np.zeros(moments.axes[of].size)
    deviation = np.sqrt(whole.squares[of])
    across = moments.across(whole, of, other)
    for layer, own in enumerate(layer_slices(moments.axes[other])):
        turn = np.linalg.qr(generator.normal(size=(own.stop - own.start,) * 2))[0]
        scale = np.sqrt(whole.squares[other][own])
        turn = np.divide(turn, scale[:, None], out=np.zeros_like(turn), where=scale[:, None] > 0)
        variance = np.einsum("nd,nm,md->d", turn, moments.within(whole, other, layer), turn, optimize=True)
        both = deviation[:, None] * np.sqrt(np.maximum(variance, 0))[None]
        correlation = np.divide(across[:, own] @ turn, both, out=np.zeros_like(both), where=both > 0)
        best = np.maximum(best, np.abs(correlation).max(axis=1))
    return best
