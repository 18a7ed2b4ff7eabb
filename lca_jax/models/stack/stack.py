"""The transformer stack: one set of modules, run as a pure function that returns the requested states.

`forward` is meant to run under `jax.jit` with `graph` and `reads` closed over: parameters, batch and edits are traced,
so new edits never recompile, and `edits` can be mapped over with `jax.vmap`. The loop over blocks is unrolled and ends
with the last block that a requested layer needs. Captures cost memory: (layer, row, slot, neuron) a site, and nothing
for sites that were not requested. Packing rows, pooling pieces to words and placing arrays on devices are left to
others.

An encoder-decoder is a stack that holds another one, its decoder, which reads its last states: row by row, every window
of the decoder reads the window of the same number.
"""

from collections.abc import Mapping
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax.sharding import Mesh
from jaxtyping import Array, Float, Int, PyTree

from lca_jax.axes import DECODER
from lca_jax.errors import ModelError
from lca_jax.models.stack.attention import EncoderStates, View
from lca_jax.models.stack.attention_config import Disentangled
from lca_jax.models.stack.block import Block
from lca_jax.models.stack.config import StackConfig
from lca_jax.models.stack.disentangled import DistanceTable
from lca_jax.models.stack.dropout import Dropout
from lca_jax.models.stack.embedding import Embedding
from lca_jax.models.stack.fused import windows_of
from lca_jax.models.stack.head import Head
from lca_jax.models.stack.layers import norm, normalize, table
from lca_jax.models.stack.lstm import LstmBlock
from lca_jax.models.stack.memory import Memory
from lca_jax.models.stack.positions import Places, bucket_of_distance, distances, rotation, visibility_bias
from lca_jax.models.stack.relative import Distances
from lca_jax.models.stack.sinusoids import DistanceSinusoids
from lca_jax.models.stack.taps import Edit, Taps, decoder_part

Params = PyTree[Float[Array, "..."]]
"""Nested dict of parameters, with the names of the modules in this room."""


class Batch(NamedTuple):
    """Rows of pieces, several windows a row. A piece id or position beyond its table turns its row to NaN."""

    piece_ids: Int[Array | np.ndarray, "row slot"]
    positions: Int[Array | np.ndarray, "row slot"]
    """Position in the window, from 0."""
    segments: Int[Array | np.ndarray, "row slot"]
    """Number of the window inside its row, from 1; 0 is padding."""
    token_types: Int[Array | np.ndarray, "row slot"] | None = None
    """Which text of a pair each piece belongs to, as the tokenizer numbers them; None is type 0 throughout."""


class Stack(nnx.Module):
    """Embedding, blocks and head. It is built once, to be split into graph and parameters; those are untrained."""

    def __init__(self, config: StackConfig, *, rngs: nnx.Rngs) -> None:
        self.config = config
        self.embedding = Embedding(config, rngs=rngs)
        buckets = config.attention.buckets
        self.distance_bias = (
            None if buckets is None else table(config, buckets.count, config.attention.heads, rngs=rngs)
        )
        self.distances = _relative_distances(config, rngs=rngs)
        block_count = max(config.blocks) + 1
        self.blocks = nnx.List(
            [
                LstmBlock(config, rngs=rngs) if config.mixing == "lstm" else Block(config, first=number == 0, rngs=rngs)
                for number in range(block_count)
            ]
        )
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
        encoder: EncoderStates | None = None,
        memory: Memory | None = None,
        mesh: Mesh | None = None,
    ) -> Float[Array, "row slot neuron"]:
        """Runs the first `layers` layers and returns their hidden states.

        Args:
            batch: Rows of pieces.
            layers: Number of layers to run.
            taps: Edits and captures.
            pieces: The piece table, where it is another stack's.
            encoder: The states of the encoder, for a decoder.
            memory: The key/value cache, while a text grows; None where the batch holds whole windows.
            mesh: The devices that run it, where they are known.
        """
        memory = memory or Memory()
        views = self._views(batch, memory, mesh)
        kinds = self.config.attention.kind_of_layer or (0,) * self.config.layers
        embedded = self.embedding(batch.piece_ids, batch.positions, batch.token_types, shared=pieces)
        states = taps("residual", 0, taps.drop(embedded))
        for layer in range(layers):
            block = self.blocks[self.config.blocks[layer]]
            states = block(states, view=views[kinds[layer]], encoder=encoder, layer=layer, taps=taps, memory=memory)
            if layer + 1 == self.config.layers and self.final_norm is not None:
                states = normalize(self.final_norm, states)
            states = taps("residual", layer + 1, states)
        return states

    def last_states(
        self, batch: Batch, edits: Mapping[str, Edit] | None = None, *, targets: Batch | None = None
    ) -> Float[Array, "row slot neuron"]:
        """Runs all layers and returns what the head reads: the last states of `targets` where there is a decoder.

        Args:
            batch: Rows of pieces.
            edits: Site to edit.
            targets: Rows of pieces for the decoder.

        Raises:
            ModelError: There is a decoder and `targets` are missing.
        """
        edits, batch = edits or {}, jax.tree.map(jnp.asarray, batch)
        states = self(batch, layers=self.config.layers, taps=Taps(edits, {}))
        if self.decoder is None:
            return states
        written, taps = jax.tree.map(jnp.asarray, require_targets(targets)), Taps(decoder_part(edits), {})
        return self.decode(written, batch, states, layers=self.decoder.config.layers, taps=taps)

    @property
    def piece_table(self) -> nnx.Embed:
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
        mesh: Mesh | None = None,
    ) -> Float[Array, "row slot neuron"]:
        """Runs the decoder over `targets`, which read this stack's last `states` of `batch`."""
        assert self.decoder is not None
        bias = visibility_bias(
            Places(targets.positions, targets.segments),
            Places(batch.positions, batch.segments),
            causal=False,
            reach=None,
        )
        # Padding sees all of the source: where that fills its row it would see nothing, and NaN would spread from it.
        bias = jnp.where(jnp.asarray(targets.segments)[:, None, :, None] == 0, jnp.float32(0), bias)
        encoder, pieces = EncoderStates(states, View(bias)), self.piece_table
        return self.decoder(targets, layers=layers, taps=taps, pieces=pieces, encoder=encoder, memory=memory, mesh=mesh)

    def logits(self, states: Float[Array, "row slot neuron"]) -> Float[Array, "row slot vocabulary"]:
        """Computes the logits of last hidden states, with the head of this stack or of its decoder."""
        last = self.decoder or self
        assert last.head is not None
        return last.head(states, last.embedding.pieces or self.piece_table)

    def _views(self, batch: Batch, memory: Memory, mesh: Mesh | None) -> list[View]:
        """Returns the positions of a batch as attention uses them, for each kind of layer."""
        shape = self.config.attention
        queries = Places(batch.positions, batch.segments)
        keys = memory.places or queries
        learned = None
        if shape.buckets is not None and self.distance_bias is not None:
            apart = distances(queries.positions, keys.positions)
            buckets = bucket_of_distance(apart, shape.buckets, causal=shape.causal)
            learned = jnp.moveaxis(self.distance_bias(buckets).astype(jnp.float32), 3, 1)
        relative = None if self.distances is None else self._distances_of(batch)
        starts = jnp.asarray(batch.positions) == 0
        segments = jnp.asarray(batch.segments)
        ends = jnp.pad(segments[:, 1:] != segments[:, :-1], ((0, 0), (0, 1)), constant_values=True)
        views = []
        for kind in shape.kinds:
            bias = visibility_bias(queries, keys, causal=shape.causal, reach=kind.reach)
            turn = None if kind.rotary is None else rotation(kind.rotary, batch.positions)
            windows = None if memory.cache else windows_of(batch.segments, self.config, kind, mesh=mesh)
            bias = bias if learned is None else bias + learned
            views.append(View(bias, turn, relative, starts, ends, kind.factor, windows))
        return views

    def _distances_of(self, batch: Batch) -> Distances:
        assert self.distances is not None
        relative = self.distances(batch.positions)
        if batch.token_types is None:
            return relative
        types = jnp.asarray(batch.token_types)
        return relative._replace(two_types=types[:, :, None] != types[:, None, :])


def _relative_distances(config: StackConfig, *, rngs: nnx.Rngs) -> DistanceTable | DistanceSinusoids | None:
    shape = config.attention.relative
    if isinstance(shape, Disentangled):
        return DistanceTable(config, shape, rngs=rngs)
    return None if shape is None else DistanceSinusoids(config, shape)


def build(config: StackConfig) -> tuple[nnx.GraphDef[Stack], PyTree[jax.ShapeDtypeStruct]]:
    """Returns the module graph and the shapes of its parameters, without allocating any."""
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
    dropout: Dropout | None = None,
    mesh: Mesh | None = None,
) -> dict[str, Float[Array, "_layer row _slot _neuron"]]:
    """Runs the stack over packed rows and returns the requested layers, after their edits.

    Args:
        graph: The module graph of `build`.
        params: Its parameters.
        batch: Rows of pieces.
        edits: Site to edit; a site that is left out is not edited. Layer 0 of `residual` is the embedding output, and
            edited states flow on to the next layers.
        reads: Site to layer numbers, as `StackConfig.choose_layers` returns them.
        targets: Rows of pieces for the decoder: as many rows as `batch`, with windows of the same numbers in each.
        dropout: Masks of a training step; the decoder has none.
        mesh: The devices over whose axis `data` the rows are split, where nothing is to be differentiated: there long
            rows are attended by a kernel (`fused`). None keeps the ordinary way on every device.

    Raises:
        ModelError: A site of the decoder is read and `targets` are missing.
    """
    stack, edits = nnx.merge(graph, params), edits or {}
    decoder_reads = decoder_part(reads)
    encoder_reads = {site: layers for site, layers in reads.items() if not site.startswith(DECODER)}
    taps, decoder_taps = Taps(edits, encoder_reads, dropout), Taps(decoder_part(edits), decoder_reads)
    depth = stack.config.layers if decoder_reads else _depth(encoder_reads)
    states = stack(batch, layers=depth, taps=taps, mesh=mesh)
    if decoder_reads:
        depth = _depth(decoder_reads)
        stack.decode(require_targets(targets), batch, states, layers=depth, taps=decoder_taps, mesh=mesh)
    captures = taps.captures | {
        (DECODER + site, layer): states for (site, layer), states in decoder_taps.captures.items()
    }
    return {site: jnp.stack([captures[site, layer] for layer in layers]) for site, layers in reads.items()}


def predict_pieces(
    graph: nnx.GraphDef[Stack],
    params: Params,
    batch: Batch,
    edits: Mapping[str, Edit] | None = None,
    *,
    targets: Batch | None = None,
) -> Float[Array, "row slot vocabulary"]:
    """Runs everything over packed rows and returns the logits of every slot, of `targets` where there is a decoder."""
    stack = nnx.merge(graph, params)
    return stack.logits(stack.last_states(batch, edits, targets=targets))


def _depth(reads: Mapping[str, tuple[int, ...]]) -> int:
    """Returns how many layers to run: block b gives layer b + 1 of the residual site and layer b of the others."""
    return max(layer + (site != "residual") for site, layers in reads.items() for layer in layers)


def require_targets(targets: Batch | None) -> Batch:
    """Returns the rows of the decoder.

    Raises:
        ModelError: There are none.
    """
    if targets is None:
        raise ModelError("The decoder of this model reads texts of its own: give them as `targets`.")
    return targets
