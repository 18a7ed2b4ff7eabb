"""The embedding: turns pieces into the first hidden states."""

import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Float, Float32, Int

from lca_jax.models.stack.config import StackConfig
from lca_jax.models.stack.layers import linear, norm, normalize, table


class Embedding(nnx.Module):
    """Sums piece, position and token type vectors; normalises and projects the sum where the config says so."""

    def __init__(self, config: StackConfig, *, rngs: nnx.Rngs) -> None:
        shape = config.embedding
        self.scale, self.first_position = shape.scale, shape.first_position
        self.pieces = None if shape.shared else table(config, shape.vocabulary, shape.width, rngs=rngs)
        self.positions = _position_table(config, rngs=rngs) if shape.positions else None
        self.token_types = table(config, shape.token_types, shape.width, rngs=rngs) if shape.token_types else None
        norm_width = config.residual_width if shape.project_first else shape.width
        self.norm = norm(config, norm_width, rngs=rngs) if shape.norm else None
        self.project_first = shape.project_first
        self.project = (
            linear(config, shape.width, config.residual_width, bias=not shape.project_first, rngs=rngs)
            if shape.projected
            else None
        )

    def __call__(
        self,
        piece_ids: Int[Array | np.ndarray, "row slot"],
        positions: Int[Array | np.ndarray, "row slot"],
        token_types: Int[Array | np.ndarray, "row slot"] | None = None,
        *,
        shared: nnx.Embed | None = None,
    ) -> Float[Array, "row slot neuron"]:
        """Returns the first hidden states.

        Args:
            piece_ids: Indices in the piece table.
            positions: Positions from 0 in each window.
            token_types: Indices in the token type table; None means type 0 throughout.
            shared: The piece table of the encoder, for a decoder without one.
        """
        pieces = self.pieces or shared
        assert pieces is not None
        states = pieces(jnp.asarray(piece_ids))
        if self.scale != 1.0:
            states = states * jnp.asarray(self.scale, states.dtype)
        if self.token_types is not None:
            type_0 = self.token_types.embedding[...][:1, None, :]
            states = states + (type_0 if token_types is None else self.token_types(jnp.asarray(token_types)))
        if self.positions is not None:
            states = states + self.positions(jnp.asarray(positions) + self.first_position)
        if self.project is not None and self.project_first:
            states = self.project(states)
        if self.norm is not None:
            states = normalize(self.norm, states)
        return states if self.project is None or self.project_first else self.project(states)


def sinusoid_table(positions: int, width: int, *, sinusoids: int) -> Float32[np.ndarray, "position neuron"]:
    """Computes sines, then cosines, of the positions from 0 (`EmbeddingConfig.sinusoids`).

    They are computed in double precision, since large angles have few digits in float32.
    """
    angles = np.arange(positions)[:, None] * 10_000.0 ** (-np.arange(width // 2) / sinusoids)
    return np.concatenate([np.sin(angles), np.cos(angles)], axis=1).astype(np.float32)


def _position_table(config: StackConfig, *, rngs: nnx.Rngs) -> nnx.Embed:
    """Returns the position table: drawn at random like other tables, or sines and cosines."""
    shape = config.embedding
    positions = table(config, shape.positions, shape.width, rngs=rngs)
    if shape.sinusoids:
        vectors = sinusoid_table(shape.positions, shape.width, sinusoids=shape.sinusoids)
        positions.embedding = nnx.Param(jnp.asarray(vectors, jnp.dtype(config.dtype)))
    return positions
