"""The transformer stack: one set of modules, run as a pure function that returns what it is asked to capture.

`forward` is meant to run under `jax.jit` with `graph` and `reads` closed over: parameters, batch and edits are traced,
so new edits never recompile, and `edits` can be mapped over with `jax.vmap`. The loop over blocks is unrolled and ends
with the last block that is asked for. Captures cost memory: (layer, row, slot, neuron) a site, and nothing for a site
not asked for. Packing rows, pooling pieces to words and placing arrays on devices are left to others.

An encoder-decoder is a stack that has another one, its decoder, which reads its last states: row by row, every window
of the decoder the window of its own number.
"""

from collections.abc import Mapping
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Float, Int, PyTree

from lca_jax.axes import DECODER
from lca_jax.errors import ModelError
from lca_jax.models.stack.attention import Source, View
from lca_jax.models.stack.block import Block
from lca_jax.models.stack.config import Disentangled, StackConfig
from lca_jax.models.stack.disentangled import DistanceTable
from lca_jax.models.stack.embedding import Embedding
from lca_jax.models.stack.head import Head
from lca_jax.models.stack.layers import norm, normalize, table
from lca_jax.models.stack.memory import Memory
from lca_jax.models.stack.positions import Places, bucket_of_distance, distances, rotation, visibility_bias
from lca_jax.models.stack.sinusoids import DistanceSinusoids
from lca_jax.models.stack.taps import Edit, Taps, of_decoder

Params = PyTree[Float[Array, "..."]]
"""Nested dict of parameters, named as the modules here name them."""


class Batch(NamedTuple):
    """Rows of pieces, several windows a row. A piece id or position beyond its table turns its row to NaN."""

    piece_ids: Int[Array | np.ndarray, "row slot"]
    positions: Int[Array | np.ndarray, "row slot"]
    """From 0 in each window."""
    segments: Int[Array | np.ndarray, "row slot"]
    """Number of the window inside its row, from 1; 0 is padding."""
    token_types: Int[Array | np.ndarray, "row slot"] | None = None
    """Which of a pair's texts each piece is of, as the tokenizer numbers them; None is type 0 throughout."""


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
        self.decoder = None if config.decoder is None else Stack(config.decoder, rngs=rngs)

    def __call__(
        self,
        batch: Batch,
        *,
        layers: int,
        taps: Taps,
        pieces: nnx.Embed | None = None,
        source: Source | None = None,
        memory: Memory | None = None,
    ) -> Float[Array, "row slot neuron"]:
        """Runs the first `layers` layers and returns their hidden states.

        Args:
            batch: Rows of pieces.
            layers: How many layers are run.
            taps: Keep what was asked for.
            pieces: The piece table, where it is another stack's.
            source: What a decoder reads of its encoder.
            memory: What is known of the pieces before, while a text grows.
        """
        memory = memory or Memory()
        views = self._view(batch, memory)
        kinds = self.config.attention.kind_of_layer or (0,) * self.config.layers
        embedded = self.embedding(batch.piece_ids, batch.positions, batch.token_types, shared=pieces)
        states = taps("residual", 0, embedded)
        for layer in range(layers):
            block = self.blocks[self.config.blocks[layer]]
            states = block(states, view=views[kinds[layer]], source=source, layer=layer, taps=taps, memory=memory)
            if layer + 1 == self.config.layers and self.final_norm is not None:
                states = normalize(self.final_norm, states)
            states = taps("residual", layer + 1, states)
        return states

    @property
    def own_pieces(self) -> nnx.Embed:
        """The piece table of this stack."""
        assert self.embedding.pieces is not None
        return self.embedding.pieces

    def decode(
        self,
        targets: Batch,
        batch: Batch,
        states: Float[Array, "row place neuron"],
        *,
        layers: int,
        taps: Taps,
        memory: Memory | None = None,
    ) -> Float[Array, "row slot neuron"]:
        """Runs the decoder over `targets`, which read this stack's last `states` of `batch`."""
        assert self.decoder is not None
        bias = visibility_bias(
            Places(targets.positions, targets.segments),
            Places(batch.positions, batch.segments),
            causal=False,
            reach=None,
        )
        source = Source(states, View(bias))
        return self.decoder(targets, layers=layers, taps=taps, pieces=self.own_pieces, source=source, memory=memory)

    def logits(self, states: Float[Array, "row slot neuron"]) -> Float[Array, "row slot vocabulary"]:
        """What the head, this stack's or its decoder's, makes of last hidden states."""
        last = self.decoder or self
        assert last.head is not None
        return last.head(states, last.embedding.pieces or self.own_pieces)

    def _view(self, batch: Batch, memory: Memory) -> list[View]:
        """What attention knows of the positions, for each kind of layer."""
        shape = self.config.attention
        seeing = Places(batch.positions, batch.segments)
        seen = memory.places or seeing
        learned = None
        if shape.buckets is not None and self.distance_bias is not None:
            apart = distances(seeing.positions, seen.positions)
            buckets = bucket_of_distance(apart, shape.buckets, causal=shape.causal)
            learned = jnp.moveaxis(self.distance_bias(buckets).astype(jnp.float32), 3, 1)
        relative = None if self.distances is None else self.distances(batch.positions)
        starts = jnp.asarray(batch.positions) == 0
        views = []
        for kind in shape.kinds:
            bias = visibility_bias(seeing, seen, causal=shape.causal, reach=kind.reach)
            turn = None if kind.rotary is None else rotation(kind.rotary, batch.positions)
            views.append(View(bias if learned is None else bias + learned, turn, relative, starts))
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
    targets: Batch | None = None,
) -> dict[str, Float[Array, "_layer row _slot _neuron"]]:
    """Runs the stack over packed rows and returns the layers asked for, after their edits.

    Args:
        graph: The module graph of `build`.
        params: Its parameters.
        batch: Rows of pieces.
        edits: Site to edit; a site that is left out is not touched. Layer 0 of `residual` is the embedding output, and
            what is edited flows on.
        reads: Site to layer numbers, as `StackConfig.choose_layers` returns them.
        targets: What the decoder reads: as many rows, and in each the windows of the same numbers.

    Raises:
        ModelError: The decoder is asked for and has no `targets`.
    """
    stack, edits = nnx.merge(graph, params), edits or {}
    of_target = of_decoder(reads)
    of_source = {site: layers for site, layers in reads.items() if not site.startswith(DECODER)}
    taps, target_taps = Taps(edits, of_source), Taps(of_decoder(edits), of_target)
    states = stack(batch, layers=stack.config.layers if of_target else _depth(of_source), taps=taps)
    if of_target:
        stack.decode(_required(targets), batch, states, layers=_depth(of_target), taps=target_taps)
    seen = taps.seen | {(DECODER + site, layer): found for (site, layer), found in target_taps.seen.items()}
    return {site: jnp.stack([seen[site, layer] for layer in layers]) for site, layers in reads.items()}


def predict_pieces(
    graph: nnx.GraphDef[Stack],
    params: Params,
    batch: Batch,
    edits: Mapping[str, Edit] | None = None,
    *,
    targets: Batch | None = None,
) -> Float[Array, "row slot vocabulary"]:
    """Runs everything over packed rows and returns the logits of every slot, of `targets` where there is a decoder."""
    stack, edits = nnx.merge(graph, params), edits or {}
    states = stack(batch, layers=stack.config.layers, taps=Taps(edits, {}))
    if stack.decoder is not None:
        taps, layers = Taps(of_decoder(edits), {}), stack.decoder.config.layers
        states = stack.decode(_required(targets), batch, states, layers=layers, taps=taps)
    return stack.logits(states)


def _depth(reads: Mapping[str, tuple[int, ...]]) -> int:
    """Layers to run: block number b gives layer b + 1 of the residual site and layer b of the sites inside it."""
    return max(layer + (site != "residual") for site, layers in reads.items() for layer in layers)


def _required(targets: Batch | None) -> Batch:
    if targets is None:
        raise ModelError("The decoder of this model reads texts of its own: give them as `targets`.")
    return targets


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
