"""Disentangled attention: beside content with content, scores of content with distance and of distance with content.

Source: He et al. 2021 (DeBERTa), section 3.1, equations 3 and 4; its numbers by logarithm and shared matrices are those
of version 2 (the models' own code), which DeBERTaV3 (He, Gao and Chen 2021) keeps. With c for content and p for
distance, score(i, j) = scale · (qᶜᵢ · kᶜⱼ + qᶜᵢ · kᵖ(i, j) + kᶜⱼ · qᵖ(i, j)), where both last terms take the distance
from j to i: version 2 reads the distance of the last one the other way round twice, which comes to the same.

Cost: one table for all layers; only the rows that distances below the row length have are projected, once a layer and
not once a row. Each of the two terms takes one product as `relative` describes it.
"""

import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Float, Int

from lca_jax.models.stack.config import Disentangled, StackConfig
from lca_jax.models.stack.layers import linear, matmul_precision, norm, normalize, table
from lca_jax.models.stack.relative import Distances, match_keys, match_queries, number_distances


class DistanceTable(nnx.Module):
    """The learned vectors of distances, which all layers read."""

    def __init__(self, config: StackConfig, shape: Disentangled, *, rngs: nnx.Rngs) -> None:
        self.shape = shape
        self.vectors = table(config, 2 * shape.span, config.residual_width, rngs=rngs)
        self.norm = norm(config, config.residual_width, rngs=rngs) if shape.norm else None

    def __call__(self, positions: Int[Array | np.ndarray, "row slot"]) -> Distances:
        """Returns the part of the table that rows of this length can need, and where they need it."""
        furthest = positions.shape[1] - 1
        rows = row_of_distance(np.arange(-furthest, furthest + 1), self.shape)
        vectors = self.vectors.embedding[...][rows[0] : rows[-1] + 1]
        if self.norm is not None:
            vectors = normalize(self.norm, vectors)
        return Distances(vectors, jnp.asarray(rows - rows[0])[number_distances(positions)])


class DisentangledScores(nnx.Module):
    """What one layer adds to its scores."""

    def __init__(self, config: StackConfig, shape: Disentangled, *, rngs: nnx.Rngs) -> None:
        attention = config.attention
        self.heads, self.scale, self.precision = attention.heads, attention.scale, matmul_precision(config.dtype)
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
        """Scores content with distance, both ways where the model has both.

        Args:
            query: Of pieces, not scaled.
            key: Of pieces.
            distances: From `DistanceTable`.
            content: The matrices that made query and key, for models that make those of distances by them too.
        """
        vectors, number = distances
        scores = jnp.float32(0)
        if self.content_to_position:
            keys = (self.key or content[1])(vectors).reshape(len(vectors), self.heads, -1)
            scores += match_keys(query, keys, number, precision=self.precision)
        if self.position_to_content:
            queries = (self.query or content[0])(vectors).reshape(len(vectors), self.heads, -1)
            scores += match_queries(queries, key, number, precision=self.precision)
        return self.scale * scores


def row_of_distance(distance: Int[np.ndarray, "*place"], shape: Disentangled) -> Int[np.ndarray, "*place"]:
    """The row of the table that a distance has; it grows with the distance.

    Where numbers grow with the logarithm, distances up to half the span have their own, d; others share
    mid + ⌈ln(d / mid) / ln((longest - 1) / mid) · (mid - 1)⌉ with mid = span / 2. In float32, as the models' own code
    has it: the ceiling shows the last digit.

    Args:
        distance: Position of the piece that sees less that of the piece seen.
        shape: Says how distances are numbered.
    """
    number = distance
    if shape.longest is not None:
        middle = shape.span // 2
        far = np.maximum(np.abs(distance), middle).astype(np.float32) / np.float32(middle)
        growth = np.log(far) / np.log(np.float32((shape.longest - 1) / middle)) * np.float32(middle - 1)
        shared = middle + np.ceil(growth).astype(distance.dtype)
        number = np.where(np.abs(distance) <= middle, distance, np.sign(distance) * shared)
    return np.clip(number + shape.span, 0, 2 * shape.span - 1)
