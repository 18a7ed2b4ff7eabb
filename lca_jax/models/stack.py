"""The transformer stack: one set of modules, run as a pure function that returns what it is asked to capture.

`forward` is meant to run under `jax.jit` with `graph` and `reads` closed over: parameters, batch and edits are traced,
so new edits never recompile, and `edits` can be mapped over with `jax.vmap`. The loop over blocks is unrolled and ends
with the last block that is asked for. Captures cost memory: (layer, row, slot, neuron) a site, and nothing for a site
not asked for. Packing rows, pooling pieces to words and placing arrays on devices are left to others.
"""

from collections.abc import Mapping
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Float, Int, PyTree

from lca_jax.errors import ModelError
from lca_jax.models.attention import View
from lca_jax.models.block import Block
from lca_jax.models.config import Disentangled, StackConfig
from lca_jax.models.disentangled import DistanceTable
from lca_jax.models.embedding import Embedding
from lca_jax.models.head import Head
from lca_jax.models.layers import norm, normalize, table
from lca_jax.models.positions import bucket_of_distance, distances, rotation, visibility_bias
from lca_jax.models.taps import Edit, Taps
from lca_jax.models.transformer_xl import DistanceSinusoids

Params = PyTree[Float[Array, "..."]]
"""Nested dict of parameters, named as the modules here name them."""


class Batch(NamedTuple):
    """Rows of pieces, several windows a row. A piece id or position beyond its table turns its row to NaN."""

    piece_ids: Int[Array | np.ndarray, "row slot"]
    positions: Int[Array | np.ndarray, "row slot"]
    """From 0 in each window."""
    segments: Int[Array | np.ndarray, "row slot"]
    """Number of the window inside its row, from 1; 0 is padding."""


class Stack(nnx.Module):
    """Embedding, blocks and head. Built once to be split; parameters of its own are those of an untrained model."""

    def __init__(self, config: StackConfig, *, rngs: nnx.Rngs) -> None:
        self.config = config
        self.embedding = Embedding(config, rngs=rngs)
        buckets = config.attention.buckets
        self.distance_bias = (
            None if buckets is None else table(config, buckets.count, config.attention.heads, rngs=rngs)
        )
        self.distances = _relative_distances(config, rngs=rngs)
        own_blocks = max(config.blocks) + 1
        self.blocks = nnx.List([Block(config, first=number == 0, rngs=rngs) for number in range(own_blocks)])
        self.final_norm = norm(config, config.residual_width, rngs=rngs) if config.final_norm else None
        self.head = None if config.head is None else Head(config, config.head, rngs=rngs)

    def __call__(self, batch: Batch, *, layers: int, taps: Taps) -> Float[Array, "row slot neuron"]:
        """Runs the first `layers` layers and returns their hidden states; the taps keep what was asked for."""
        views = self._view(batch)
        kinds = self.config.attention.kind_of_layer or (0,) * self.config.layers
        states = taps("residual", 0, self.embedding(batch.piece_ids, batch.positions))
        for layer in range(layers):
            block = self.blocks[self.config.blocks[layer]]
            states = block(states, view=views[kinds[layer]], layer=layer, taps=taps)
            if layer + 1 == self.config.layers and self.final_norm is not None:
                states = normalize(self.final_norm, states)
            states = taps("residual", layer + 1, states)
        return states

    def logits(self, batch: Batch, *, taps: Taps) -> Float[Array, "row slot vocabulary"]:
        """Runs all layers and the head."""
        states = self(batch, layers=self.config.layers, taps=taps)
        assert self.head is not None
        return self.head(states, self.embedding.pieces)

    def _view(self, batch: Batch) -> list[View]:
        """What attention knows of the positions, for each kind of layer."""
        shape = self.config.attention
        learned = None
        if shape.buckets is not None and self.distance_bias is not None:
            buckets = bucket_of_distance(distances(batch.positions), shape.buckets, causal=shape.causal)
            learned = jnp.moveaxis(self.distance_bias(buckets).astype(jnp.float32), 3, 1)
        relative = None if self.distances is None else self.distances(batch.positions)
        views = []
        for kind in shape.kinds:
            bias = visibility_bias(batch.segments, batch.positions, causal=shape.causal, kind=kind)
            turn = None if kind.rotary is None else rotation(kind.rotary, batch.positions)
            views.append(View(bias if learned is None else bias + learned, turn, relative))
        return views


def _relative_distances(config: StackConfig, *, rngs: nnx.Rngs) -> DistanceTable | DistanceSinusoids | None:
    shape = config.attention.relative
    if isinstance(shape, Disentangled):
        return DistanceTable(config, shape, rngs=rngs)
    return None if shape is None else DistanceSinusoids(config, shape)


def build(config: StackConfig) -> tuple[nnx.GraphDef[Stack], PyTree[jax.ShapeDtypeStruct]]:
    """The module graph and the shapes of its parameters, without allocating any."""
    graph, shapes = nnx.split(nnx.eval_shape(lambda: Stack(config, rngs=nnx.Rngs(0))), nnx.Param)
    return graph, nnx.to_pure_dict(shapes)


def forward(
    graph: nnx.GraphDef[Stack],
    params: Params,
    batch: Batch,
    edits: Mapping[str, Edit] | None = None,
    *,
    reads: Mapping[str, tuple[int, ...]],
) -> dict[str, Float[Array, "_layer row slot _neuron"]]:
    """Runs the stack over packed rows and returns the layers asked for, after their edits.

    Args:
        graph: The module graph of `build`.
        params: Its parameters.
        batch: Rows of pieces.
        edits: Site to edit; a site that is left out is not touched. Layer 0 of `residual` is the embedding output, and
            what is edited flows on.
        reads: Site to layer numbers, as `StackConfig.choose_layers` returns them.
    """
    taps = Taps(edits or {}, reads)
    # Block number b gives layer b + 1 of the residual site and layer b of the two sites inside it.
    layers = max(layer + (site != "residual") for site, layers in reads.items() for layer in layers)
    nnx.merge(graph, params)(batch, layers=layers, taps=taps)
    return {site: jnp.stack([taps.seen[site, layer] for layer in layers]) for site, layers in reads.items()}


def predict_pieces(
    graph: nnx.GraphDef[Stack], params: Params, batch: Batch, edits: Mapping[str, Edit] | None = None
) -> Float[Array, "row slot vocabulary"]:
    """Runs the stack and its head over packed rows and returns the logits of every slot, in float32."""
    return nnx.merge(graph, params).logits(batch, taps=Taps(edits or {}, {}))


def check_edits(config: StackConfig, edits: Mapping[str, Edit]) -> None:
    """Checks that every edit has a scale and a shift for each neuron of each layer of its site.

    Raises:
        ModelError: A site is unknown or a shape is another; the message says which shape the site has.
    """
    for site, edit in edits.items():
        shape = (config.layer_count(site), config.site_width(site))
        if (np.shape(edit.scale), np.shape(edit.shift)) != (shape, shape):
            raise ModelError(
                f"The edit of `{site}` must have scale and shift of shape (layer, neuron) = {shape}, "
                f"got {np.shape(edit.scale)} and {np.shape(edit.shift)}."
            )
