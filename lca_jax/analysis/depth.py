"""Where the first neurons of a ranking sit, by relative depth: 0 is the first layer, 1 the last, whatever their number.

So models of different numbers of layers have one axis. Layers are those that were read. A profile has the share of the
first neurons in every layer and its interval over the sentences, from half-samples (`analysis.half_intervals`), beside
what neurons drawn at random would have: the layer's share of all neurons.

Reference: Durrani et al. 2023, section 5.3 and Figure 6 (layers compared by eye).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64

from lca_jax.analysis.half_intervals import Interval, interval_of_halves
from lca_jax.analysis.overlap import counts_of, first_part, refuse_other_axes
from lca_jax.axes import NeuronAxis
from lca_jax.errors import SettingsError
from lca_jax.probing.halves import check_pairs
from lca_jax.ranking.ranking import Ranking


@dataclass(frozen=True, kw_only=True)
class LayerShare:
    """One layer of a profile."""

    layer: str
    depth: float
    """Relative depth, in 0..1."""
    share: float
    """Share of the first neurons that are in it."""
    interval: tuple[float, float]
    """95 % interval of that, within 0..1."""
    expected: float
    """The same for neurons drawn at random."""


@dataclass(frozen=True, kw_only=True)
class DepthProfile:
    """The depths of the first neurons of a ranking; from `depth_profile`."""

    neurons: int
    """Number of first neurons."""
    layers: tuple[LayerShare, ...]
    mean_depth: Interval
    """Their mean relative depth."""
    expected: float
    """Mean relative depth of all neurons."""
    lower_half: Interval
    """Share of the first neurons in layers of a depth below 0.5; a layer in the very middle counts by half."""
    expected_lower_half: float
    """The same of all neurons."""


def depth_profile(ranking: Ranking, halves: Sequence[Ranking], *, share: float = 0.05) -> DepthProfile:
    """Counts the first neurons of a ranking by relative depth.

    Args:
        ranking: The ranking.
        halves: The rankings of its complementary half-samples, the first two of one division, and so on.
        share: Share of the neurons that are counted.

    Raises:
        SettingsError: There are no halves or an odd number of them, they order other neurons, or the share is out of
            its range.
    """
    if not halves:
        raise SettingsError("Intervals of depths are those of half-samples: give two rankings of halves or more.")
    check_pairs(len(halves))
    refuse_other_axes([ranking, *halves])
    axis = ranking.axis
    (count,) = counts_of([share], axis.size)
    shares, *of_halves = (_by_layer(one, count) for one in (ranking, *halves))
    sampled, depths = np.stack(of_halves), relative_depths(axis)
    widths = np.array([block.width for block in axis.blocks]) / axis.size
    layers = []
    for place, name in enumerate(axis.layer_names):
        found = interval_of_halves(float(shares[place]), sampled[:, place]).within(0.0, 1.0)
        layers.append(
            LayerShare(
                layer=name,
                depth=float(depths[place]),
                share=found.value,
                interval=(found.low, found.high),
                expected=float(widths[place]),
            )
        )
    return DepthProfile(
        neurons=count,
        layers=tuple(layers),
        mean_depth=interval_of_halves(float(shares @ depths), sampled @ depths).within(0.0, 1.0),
        expected=float(widths @ depths),
        lower_half=interval_of_halves(float(shares @ lower_part(axis)), sampled @ lower_part(axis)).within(0.0, 1.0),
        expected_lower_half=float(widths @ lower_part(axis)),
    )


def relative_depths(axis: NeuronAxis) -> Float64[np.ndarray, " layer"]:
    """Returns the depth of every block, from 0 for the first layer of its site that was read to 1 for the last."""
    depths = np.empty(len(axis.blocks))
    for place, block in enumerate(axis.blocks):
        of_site = [other.layer for other in axis.blocks if other.site == block.site]
        reach = max(of_site) - min(of_site)
        depths[place] = (block.layer - min(of_site)) / reach if reach else 0.0
    return depths


def lower_part(axis: NeuronAxis) -> Float64[np.ndarray, " layer"]:
    """Returns for every block how far it belongs to the lower half of its layers: 1, 0, or 0.5 in the very middle."""
    return 0.5 * (1 - np.sign(relative_depths(axis) - 0.5))


def _by_layer(ranking: Ranking, count: int) -> Float64[np.ndarray, " layer"]:
    axis = ranking.axis
    weights = first_part(ranking, count)
    return np.bincount(axis.block_of_column, weights=weights, minlength=len(axis.blocks)) / count
