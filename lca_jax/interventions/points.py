"""Runs all points of a curve over a text as one compiled program, whose memory is that of one point.

A point is four numbers: an order, the places of it that are removed, and a fill. The edits are made from them inside
the program (`edited_runs`).
"""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Float32, Int

from lca_jax.axes import DECODER, NeuronAxis
from lca_jax.errors import SettingsError
from lca_jax.interventions.choices import Where
from lca_jax.interventions.edited_runs import refuse_slots_of_written, score_edits
from lca_jax.interventions.edits import columns_by_site, edits_of_columns
from lca_jax.interventions.measures import Measure, Setting, setting_of
from lca_jax.interventions.rows import Rows
from lca_jax.interventions.sets import Order, Span
from lca_jax.machine.progress import counted
from lca_jax.models.model import Model
from lca_jax.models.stack.stack import Params, forward
from lca_jax.models.stack.taps import Edit


class Points(NamedTuple):
    """All points, in the order (fill, order, span) after the model as it is."""

    orders: Int[Array | np.ndarray, " point"]
    first: Int[Array | np.ndarray, " point"]
    last: Int[Array | np.ndarray, " point"]
    fills: Int[Array | np.ndarray, " point"]


def points_of(orders: int, spans: Sequence[Span], fills: int) -> Points:
    """Numbers the points: the model as it is, then every span of every order with every fill."""
    fill, order, span = np.meshgrid(range(fills), range(orders), range(len(spans)), indexing="ij")
    first = np.array([one.first for one in spans])[span.ravel()]
    last = np.array([one.last for one in spans])[span.ravel()]
    parts = (order.ravel(), first, last, fill.ravel())
    return Points(*(np.concatenate([[0], part]).astype(np.int32) for part in parts))


def run_points(
    model: Model,
    measure: Measure,
    axis: NeuronAxis,
    orders: Sequence[Order],
    spans: Sequence[Span],
    fills: Float32[np.ndarray, "fill feature"],
    *,
    where: Where = "all",
    at_once: int = 1,
) -> list[np.ndarray]:
    """Returns what the score of a measure says of every batch, for every point: arrays (point, …).

    Args:
        model: The model.
        measure: What is measured.
        axis: The neuron of each column.
        orders: Orders of columns.
        spans: Places that are removed.
        fills: What removed columns are set to.
        where: Which slots are edited.
        at_once: Number of points that are computed together.

    Raises:
        SettingsError: A model that translates has no slots of its decoder that could be chosen; or a neuron is not in
            the model.
    """
    columns = columns_by_site(model.config, axis)
    batches = measure.batches
    refuse_slots_of_written(where, batches, columns)
    places = np.full((len(orders), axis.size), axis.size, np.int32)
    for number, order in enumerate(orders):
        places[number, order.columns] = np.arange(len(order.columns))
    points = points_of(len(orders), spans, len(fills))
    chosen = {"score": measure.score, "setting": setting_of(model), "where": where, "at_once": at_once}
    given = (model.params, points, _Shared(columns, jnp.asarray(places), jnp.asarray(fills)), measure.further)
    return [
        np.asarray(score_edits(rows, *given, edits_of=_edits_of, **chosen))
        for rows in counted(batches, f"{measure.name}: batches of the curve")
    ]


class _Shared(NamedTuple):
    """What the edits of all points are made of."""

    columns: Mapping[str, Int[Array | np.ndarray, "_layer _neuron"]]
    """The column of every neuron."""
    places: Int[Array, "order feature"]
    """The place of every column in each order."""
    fills: Float[Array, "fill feature"]


def _edits_of(point: Points, shared: _Shared) -> dict[str, Edit]:
    place = shared.places[point.orders]
    removed = (place >= point.first) & (place < point.last)
    return edits_of_columns(shared.columns, removed, shared.fills[point.fills], dict.fromkeys(shared.columns))


def slot_means(
    model: Model, batches: Sequence[Rows], axis: NeuronAxis, *, where: Where = "all"
) -> Float32[np.ndarray, " feature"]:
    """Returns the mean of every column over the slots that are edited; padding does not count.

    Means over words' last pieces (`Statistics.mean`) leave out special pieces and first slots, where some neurons of
    decoders are a thousand times larger than elsewhere.

    Raises:
        SettingsError: A site of a decoder has no slots, since it has no text yet.
    """
    reads: dict[str, tuple[int, ...]] = {}
    for block in axis.blocks:
        reads[block.site] = (*reads.get(block.site, ()), block.layer)
    if batches[0].targets is None and any(site.startswith(DECODER) for site in reads):
        raise SettingsError("A text that is being written has no mean over slots: give `fill` a vector, or `zero`.")
    run = partial(_sum_slots, setting=setting_of(model), reads=tuple(reads.items()), where=where)
    sums = [jax.tree.map(lambda part: np.asarray(part, np.float64), run(rows, model.params)) for rows in batches]
    means = {
        site: np.sum([one[site][0] for one in sums], axis=0) / np.sum([one[site][1] for one in sums], axis=0)
        for site in reads
    }
    of_blocks = []
    for block in axis.blocks:
        of_layer = means[block.site][reads[block.site].index(block.layer)]
        of_blocks.append(of_layer if block.indices is None else of_layer[list(block.indices)])
    return np.concatenate(of_blocks).astype(np.float32)


@partial(jax.jit, static_argnames=("setting", "reads", "where"))
def _sum_slots(
    rows: Rows, params: Params, *, setting: Setting, reads: tuple[tuple[str, tuple[int, ...]], ...], where: Where
) -> dict[str, tuple[Float[Array, "_layer _neuron"], Float[Array, ""]]]:
    states = forward(setting.graph, params, rows.batch, reads=dict(reads), targets=rows.targets)
    sums = {}
    for site, of_site in states.items():
        decoder = site.startswith(DECODER)
        batch = rows.targets if decoder and rows.targets is not None else rows.batch
        edited = rows.edited(where, decoder=decoder)
        counts = (jnp.asarray(batch.segments) > 0) if edited is None else jnp.asarray(edited)
        inside = jnp.where(counts[None, :, :, None], of_site, jnp.zeros((), of_site.dtype)).astype(jnp.float32)
        sums[site] = (inside.sum(axis=(1, 2)), counts.sum().astype(jnp.float32))
    return sums
