"""The transformer stack: one set of modules, run as a pure function that returns what it is asked to capture.

`forward` is meant to run under `jax.jit` with `graph` and `reads` closed over: parameters, batch and edits are traced,
so new edits never recompile, and `edits` can be mapped over with `jax.vmap`. The loop over blocks is unrolled and ends
with the last block that is asked for. Captures cost memory: (layer, row, slot, neuron) a site, and nothing for a site
not asked for. Packing rows, pooling pieces to words and placing arrays on devices are left to others.
"""

from collections.abc import Mapping
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Float, Int, PyTree

from lca_jax.errors import ModelError
from lca_jax.models.attention import attend, matmul_precision, segment_bias
from lca_jax.models.config import StackConfig
from lca_jax.models.nonlinearity import NONLINEARITIES

Params = PyTree[Float[Array, "..."]]
"""Nested dict of parameters, named as the modules here name them."""


class Batch(NamedTuple):
    """Rows of pieces, several windows a row. A piece id or position beyond its table turns its row to NaN."""

    piece_ids: Int[Array | np.ndarray, "row slot"]
    positions: Int[Array | np.ndarray, "row slot"]
    """From 0 in each window."""
    segments: Int[Array | np.ndarray, "row slot"]
    """Number of the window inside its row, from 1; 0 is padding."""


class Edit(NamedTuple):
    """`x * scale + shift` at every layer of a site: scale 0 ablates a neuron, scale 1 with shift 0 leaves it alone."""

    scale: Float[Array | np.ndarray, "layer neuron"]
    shift: Float[Array | np.ndarray, "layer neuron"]


class Taps:
    """What happens where the stack passes a site: the edit of that layer, then its capture for the caller."""

    def __init__(self, edits: Mapping[str, Edit], reads: Mapping[str, tuple[int, ...]]) -> None:
        self.edits = edits
        self.reads = reads
        self.seen: dict[tuple[str, int], Array] = {}

    def __call__(
        self, site: str, layer: int, states: Float[Array, "row slot neuron"]
    ) -> Float[Array, "row slot neuron"]:
        """Returns the states that flow on."""
        if site in self.edits:
            scale, shift = (jnp.asarray(part, states.dtype)[layer] for part in self.edits[site])
            states = states * scale[None, None, :] + shift[None, None, :]
        if layer in self.reads.get(site, ()):
            self.seen[site, layer] = states
        return states


class Embedding(nnx.Module):
    """Sum of piece, position and token type vectors, normalised."""

    def __init__(self, config: StackConfig, *, rngs: nnx.Rngs) -> None:
        table = partial(
            nnx.Embed,
            features=config.residual_width,
            param_dtype=jnp.dtype(config.dtype),
            embedding_init=nnx.initializers.normal(config.initializer_range),
            rngs=rngs,
        )
        self.pieces = table(config.vocabulary)
        self.positions = table(config.positions)
        self.token_types = table(config.token_types)
        self.norm = _norm(config, rngs)

    def __call__(self, batch: Batch) -> Float[Array, "row slot neuron"]:
        """Embeds the pieces at their positions, all of token type 0."""
        pieces, positions = jnp.asarray(batch.piece_ids), jnp.asarray(batch.positions)
        states = self.pieces(pieces) + self.token_types.embedding[...][:1, None, :] + self.positions(positions)
        return _normalize(self.norm, states)


class Attention(nnx.Module):
    """Self-attention inside segments; the site `attention` lies between the heads and the output projection."""

    def __init__(self, config: StackConfig, *, rngs: nnx.Rngs) -> None:
        width = config.residual_width
        self.heads = config.heads
        self.precision = matmul_precision(config.dtype)
        self.query, self.key, self.value, self.output = (_linear(config, width, width, rngs) for _ in range(4))

    def __call__(
        self, states: Float[Array, "row slot neuron"], *, bias: Float[Array, "row 1 slot slot"], layer: int, taps: Taps
    ) -> Float[Array, "row slot neuron"]:
        """Computes what attention adds to the states."""
        rows, slots, width = states.shape
        query, key, value = (
            project(states).reshape(rows, slots, self.heads, width // self.heads)
            for project in (self.query, self.key, self.value)
        )
        mixed = attend(query, key, value, bias=bias, precision=self.precision).reshape(rows, slots, width)
        return self.output(taps("attention", layer, mixed))


class Mlp(nnx.Module):
    """The feed-forward part; the site `mlp` lies after its non-linearity."""

    def __init__(self, config: StackConfig, *, rngs: nnx.Rngs) -> None:
        self.activate = NONLINEARITIES[config.activation]
        self.expand = _linear(config, config.residual_width, config.mlp_width, rngs)
        self.contract = _linear(config, config.mlp_width, config.residual_width, rngs)

    def __call__(
        self, states: Float[Array, "row slot neuron"], *, layer: int, taps: Taps
    ) -> Float[Array, "row slot neuron"]:
        """Computes what the feed-forward part adds to the states."""
        return self.contract(taps("mlp", layer, self.activate(self.expand(states))))


class Block(nnx.Module):
    """Attention, then feed-forward, each added to its input and normalised after (post-norm)."""

    def __init__(self, config: StackConfig, *, rngs: nnx.Rngs) -> None:
        self.attention = Attention(config, rngs=rngs)
        self.attention_norm = _norm(config, rngs)
        self.mlp = Mlp(config, rngs=rngs)
        self.mlp_norm = _norm(config, rngs)

    def __call__(
        self, states: Float[Array, "row slot neuron"], *, bias: Float[Array, "row 1 slot slot"], layer: int, taps: Taps
    ) -> Float[Array, "row slot neuron"]:
        """Returns the next hidden states."""
        states = _normalize(self.attention_norm, states + self.attention(states, bias=bias, layer=layer, taps=taps))
        return _normalize(self.mlp_norm, states + self.mlp(states, layer=layer, taps=taps))


class Stack(nnx.Module):
    """Embedding and blocks. Built once to be split; parameters of its own are those of an untrained model."""

    def __init__(self, config: StackConfig, *, rngs: nnx.Rngs) -> None:
        self.embedding = Embedding(config, rngs=rngs)
        self.blocks = nnx.List([Block(config, rngs=rngs) for _ in range(config.layers)])

    def __call__(self, batch: Batch, *, blocks: int, taps: Taps) -> None:
        """Runs the first `blocks` blocks; the taps keep what was asked for."""
        bias = segment_bias(batch.segments)
        states = taps("residual", 0, self.embedding(batch))
        for layer, block in enumerate(self.blocks[:blocks]):
            states = taps("residual", layer + 1, block(states, bias=bias, layer=layer, taps=taps))


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
    blocks = max(layer + (site != "residual") for site, layers in reads.items() for layer in layers)
    nnx.merge(graph, params)(batch, blocks=blocks, taps=taps)
    return {site: jnp.stack([taps.seen[site, layer] for layer in layers]) for site, layers in reads.items()}


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


def _linear(config: StackConfig, inputs: int, outputs: int, rngs: nnx.Rngs) -> nnx.Linear:
    return nnx.Linear(
        inputs,
        outputs,
        param_dtype=jnp.dtype(config.dtype),
        kernel_init=nnx.initializers.normal(config.initializer_range),
        precision=matmul_precision(config.dtype),
        rngs=rngs,
    )


def _norm(config: StackConfig, rngs: nnx.Rngs) -> nnx.LayerNorm:
    # The variance about the mean costs no more here than E[x²] - E[x]², and loses nothing where a few neurons are huge.
    return nnx.LayerNorm(config.residual_width, epsilon=config.norm_epsilon, use_fast_variance=False, rngs=rngs)


def _normalize(norm: nnx.LayerNorm, states: Float[Array, "row slot neuron"]) -> Float[Array, "row slot neuron"]:
    return norm(states.astype(jnp.float32)).astype(states.dtype)
