"""Attention with relative sinusoids: content with content and with distance, each with a learned bias of the query.

Source: Dai et al. 2019 (Transformer-XL), section 3.3; Yang et al. 2019 (XLNet) use it in both directions. With q and k
of pieces, r the key of a distance, and biases u and v the same for all pieces,
score(i, j) = scale · (qᵢ · kⱼ + qᵢ · r(i - j) + u · kⱼ + v · r(i - j)). `attend` computes the first term. XLNet adds
(qᵢ + w) · s, where s is one vector for two pieces of one token type, and another one for two types.

Cost: the vectors of 2 · slots - 1 distances, computed once a batch and projected to keys once a layer; then one
product, as `relative` describes it, which holds the second and the fourth term.
"""

import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Float, Int

from lca_jax.machine.precision import precision_of
from lca_jax.models.stack.attention_config import RelativeSinusoids
from lca_jax.models.stack.config import StackConfig
from lca_jax.models.stack.layers import linear
from lca_jax.models.stack.relative import Distances, match_keys, number_distances


class DistanceSinusoids(nnx.Module):
    """Sines and cosines of distances, without parameters (Vaswani et al. 2017, section 3.5)."""

    def __init__(self, config: StackConfig, shape: RelativeSinusoids) -> None:
        self.width, self.longest, self.dtype = config.residual_width, shape.longest, config.dtype

    def __call__(self, positions: Int[Array | np.ndarray, "row slot"]) -> Distances:
        """Returns the vectors of all distances that rows of this length can hold: sines, then cosines."""
        furthest = positions.shape[1] - 1
        distance = np.arange(-furthest, furthest + 1)
        if self.longest is not None:
            distance = np.clip(distance, -self.longest, self.longest)
        exponents = np.arange(0, self.width, 2, dtype=np.float32) / np.float32(self.width)
        frequencies = np.float32(1) / np.float32(10_000) ** exponents
        angles = jnp.asarray(distance.astype(np.float32)[:, None] * frequencies[None, :])
        vectors = jnp.concatenate([jnp.sin(angles), jnp.cos(angles)], axis=1)
        return Distances(vectors.astype(self.dtype), number_distances(positions))


class SinusoidScores(nnx.Module):
    """The scores of distances and of both biases in one layer."""

    def __init__(self, config: StackConfig, shape: RelativeSinusoids, *, rngs: nnx.Rngs) -> None:
        attention = config.attention
        self.heads, self.scale, self.precision = attention.heads, attention.scale, precision_of(config.dtype)
        self.key = linear(config, config.residual_width, config.heads_width, bias=False, rngs=rngs)
        biases = (attention.heads, attention.head_width)
        self.content_bias = nnx.Param(jnp.zeros(biases, jnp.dtype(config.dtype)))
        self.distance_bias = nnx.Param(jnp.zeros(biases, jnp.dtype(config.dtype)))
        self.has_segments = shape.segments
        if shape.segments:
            draw = nnx.initializers.normal(config.initializer_range)
            self.segments = nnx.Param(draw(rngs.params(), (2, *biases), jnp.dtype(config.dtype)))
            self.segment_bias = nnx.Param(jnp.zeros(biases, jnp.dtype(config.dtype)))

    def __call__(
        self,
        query: Float[Array, "row slot head unit"],
        key: Float[Array, "row slot head unit"],
        distances: Distances,
    ) -> Float[Array, "row head slot slot"]:
        """Scores content with distance, the biases with content and with distance, and content with token types.

        Args:
            query: Queries of the pieces, not scaled.
            key: Keys of the pieces.
            distances: Result of `DistanceSinusoids`.
        """
        vectors, number, two_types = distances
        keys = self.key(vectors).reshape(len(vectors), self.heads, -1)
        shifted = query + self.distance_bias[...][None, None]
        by_distance = match_keys(shifted, keys, number, precision=self.precision)
        by_content = jnp.einsum(
            "hu,rshu->rhs",
            self.content_bias[...],
            key,
            precision=self.precision,
            preferred_element_type=jnp.float32,
        )
        scores = by_distance + by_content[:, :, None, :]
        if self.has_segments and two_types is not None:
            by_segment = jnp.einsum(
                "rshu,thu->trhs",
                query + self.segment_bias[...][None, None],
                self.segments[...],
                precision=self.precision,
                preferred_element_type=jnp.float32,
            )
            one, two = by_segment[..., None]
            scores += jnp.where(two_types[:, None], two, one)
        return self.scale * scores
