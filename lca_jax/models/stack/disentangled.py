"""Disentangled attention: beside content with content, scores of content with distance and of distance with content.

Source: He et al. 2021 (DeBERTa), section 3.1, equations 3 and 4. Numbers of distances that grow with the logarithm, and
shared matrices, are those of version 2 (the models' own code), which DeBERTaV3 (He, Gao and Chen 2021) keeps. With c
for content and p for distance, score(i, j) = scale · (qᶜᵢ · kᶜⱼ + qᶜᵢ · kᵖ(i, j) + kᶜⱼ · qᵖ(i, j)), where both last
terms take the distance from j to i: version 2 reads the distance of the last one the other way round twice, which comes
to the same.

Cost: one table for all layers. Only the vectors of distances below the row length are projected, once per layer and not
once per row. Each of the two terms takes one product, as `relative` describes it.
"""

import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Float, Int

from lca_jax.machine.precision import precision_of
from lca_jax.models.stack.attention_config import Disentangled
from lca_jax.models.stack.config import StackConfig
from lca_jax.models.stack.layers import linear, norm, normalize, table
from lca_jax.models.stack.relative import Distances, match_keys, match_queries, number_distances


class DistanceTable(nnx.Module):
    """The learned vectors of distances, which all layers read."""

    def __init__(self, config: StackConfig, shape: Disentangled, *, rngs: nnx.Rngs) -> None:
        self.shape = shape
        self.vectors = table(config, 2 * shape.span, config.residual_width, rngs=rngs)
        self.norm = norm(config, config.residual_width, rngs=rngs) if shape.norm else None

    def __call__(self, positions: Int[Array | np.ndarray, "row slot"]) -> Distances:
        """Returns the part of the table that rows of this length can need, and the indices into it."""
        furthest = positions.shape[1] - 1
        indices = index_of_distance(np.arange(-furthest, furthest + 1), self.shape)
        vectors = self.vectors.embedding[...][indices[0] : indices[-1] + 1]
        if self.norm is not None:
            vectors = normalize(self.norm, vectors)
        return Distances(vectors, jnp.asarray(indices - indices[0])[number_distances(positions)])


class DisentangledScores(nnx.Module):
    """The scores of distances in one layer."""

    def __init__(self, config: StackConfig, shape: Disentangled, *, rngs: nnx.Rngs) -> None:
        attention = config.attention
        self.heads, self.scale, self.precision = attention.heads, attention.scale, precision_of(config.dtype)
        self.content_to_position, self.position_to_content = shape.content_to_position, shape.position_to_content

        def matrix() -> nnx.Linear:
            return linear(config, config.residual_width, config.heads_width, bias=attention.input_bias, rngs=rngs)

        self.query = matrix() if shape.position_to_content and not shape.shared else None
        self.key = matrix() if shape.content_to_position and not shape.shared else None

    def __call__(
        self,
        query: Float[Array, "row slot head unit"],
        key: Float[Array, "row slot head unit"],
        distances: Distances,
        *,
        content: tuple[nnx.Linear, nnx.Linear],
    ) -> Float[Array, "row head slot slot"]:
        """Scores content with distance, in both directions where the model has both.

        Args:
            query: Queries of the pieces, not scaled.
            key: Keys of the pieces.
            distances: Result of `DistanceTable`.
            content: The matrices that made query and key; models with shared matrices use them for distances too.
        """
        vectors, number, _ = distances
        scores = jnp.float32(0)
        if self.content_to_position:
            keys = (self.key or content[1])(vectors).reshape(len(vectors), self.heads, -1)
            scores += match_keys(query, keys, number, precision=self.precision)
        if self.position_to_content:
            queries = (self.query or content[0])(vectors).reshape(len(vectors), self.heads, -1)
            scores += match_queries(queries, key, number, precision=self.precision)
        return self.scale * scores


def index_of_distance(distance: Int[np.ndarray, "*place"], shape: Disentangled) -> Int[np.ndarray, "*place"]:
    """Returns the index of a distance in the table; it grows with the distance.

    Where numbers grow with the logarithm, every distance d up to half the span has its own number d; longer ones share
    mid + ⌈ln(d / mid) / ln((longest - 1) / mid) · (mid - 1)⌉ with mid = span / 2. It is computed in float32, as in the
    models' own code, because the ceiling shows differences in the last digit.

    Args:
        distance: Position of the query minus position of the key.
        shape: How distances are numbered.
    """
    number = distance
    if shape.longest is not None:
        middle = shape.span // 2
        far = np.maximum(np.abs(distance), middle).astype(np.float32) / np.float32(middle)
        growth = np.log(far) / np.log(np.float32((shape.longest - 1) / middle)) * np.float32(middle - 1)
        shared = middle + np.ceil(growth).astype(distance.dtype)
        number = np.where(np.abs(distance) <= middle, distance, np.sign(distance) * shared)
    return np.clip(number + shape.span, 0, 2 * shape.span - 1)
