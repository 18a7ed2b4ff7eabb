"""The attention of a transformer: its heads, which pieces see each other, and how scores depend on positions.

These records are part of `StackConfig` (`config`); `attention`, `positions`, `disentangled` and `sinusoids` compute
what they describe.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from lca_jax.errors import ModelError


@dataclass(frozen=True, kw_only=True)
class Rotary:
    """Rotary positions (Su et al. 2021): the first units of a head turn, in pairs, by position times frequency."""

    frequencies: tuple[float, ...]
    """Radians per position, one for each pair of units; of n frequencies, number i turns the units i and i + n."""
    factor: float = 1.0
    """Factor of sine and cosine."""


@dataclass(frozen=True, kw_only=True)
class RelativeBuckets:
    """A learned bias for every head and bucket of distances, added to the scores (Raffel et al. 2020)."""

    count: int
    """Number of buckets; where a piece sees the pieces after it, half of the buckets are for those."""
    longest: int
    """Distances from this one on share the last bucket."""


@dataclass(frozen=True, kw_only=True)
class Disentangled:
    """Scores of content with distance beside those of content with content (He et al. 2021, section 3.1)."""

    span: int
    """Count of the numbers for distances to one side; the table, one for all layers, has a vector for each number of
    both sides."""
    longest: int | None
    """Distance that has the last number, where the numbers of long distances grow with the logarithm; None where every
    distance below `span` has its own number."""
    content_to_position: bool
    """Whether the query of a piece is multiplied with the key of a distance."""
    position_to_content: bool
    """Whether the key of a piece is multiplied with the query of a distance."""
    shared: bool
    """Whether the query and key of a distance are made by the matrices of the pieces; if not, each layer has further
    matrices for them."""
    norm: bool
    """Whether the table of distances is normalised."""


@dataclass(frozen=True, kw_only=True)
class RelativeSinusoids:
    """Scores of content with sines and cosines of distance, and two biases (Dai et al. 2019, section 3.3)."""

    longest: int | None = None
    """Larger distances count as this one; None where every distance counts as itself."""
    segments: bool = False
    """Whether a further term tells pairs of pieces of one token type from pairs of two (Yang et al. 2019, section 2.5).
    Without token types, it is the same for all pieces and cancels in the softmax."""


@dataclass(frozen=True, kw_only=True)
class AttentionKind:
    """The part of attention that may differ between the layers of one stack."""

    reach: int | None = None
    """Number of positions that a piece sees to either side; None for all."""
    rotary: Rotary | None = None
    """Rotary positions, if the layer has them."""
    factor: float = 1.0
    """Further factor of the products of query and key."""


@dataclass(frozen=True, kw_only=True)
class AttentionConfig:
    """Attention heads of a block."""

    heads: int
    """Number of query heads."""
    head_width: int
    """Units of a head; the `attention` site has `heads` times as many neurons."""
    key_heads: int
    """Number of heads of keys and values; each is shared by `heads / key_heads` query heads."""
    scale: float
    """Factor of the products of query and key."""
    causal: bool = False
    """Whether a piece sees only itself and the pieces before it."""
    input_bias: bool = True
    """Whether the matrices that make query, key and value have a bias."""
    output_bias: bool = True
    """Whether the matrix after the heads has a bias."""
    head_norm: bool = False
    """Whether query and key of every head are normalised."""
    softcap: float | None = None
    """Scores s become softcap · tanh(s / softcap); None leaves them as they are."""
    buckets: RelativeBuckets | None = None
    """Learned bias by distance, one table for all layers; None without."""
    relative: Disentangled | RelativeSinusoids | None = None
    """Scores that depend on distance and content; None without."""
    kinds: tuple[AttentionKind, ...] = (AttentionKind(),)
    """The kinds of layers in this stack."""
    kind_of_layer: tuple[int, ...] = ()
    """Index in `kinds` for each layer; empty where there is one kind."""

    @classmethod
    def plain(cls, *, width: int, heads: int, **changes: Any) -> "AttentionConfig":
        """Makes heads that share a width evenly, have their own keys and values, and scale by 1 / √head_width.

        Args:
            width: Units of all heads together.
            heads: Number of heads.
            changes: Values of other fields.

        Raises:
            ModelError: The heads do not share the width evenly.
        """
        head_width = split_evenly(width, heads)
        fields = {"heads": heads, "head_width": head_width, "key_heads": heads, "scale": head_width**-0.5}
        return cls(**fields | changes)

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> "AttentionConfig":
        """Inverts `dataclasses.asdict`, after JSON has made lists of the tuples."""
        fields = dict(content)
        fields["buckets"] = fields["buckets"] and RelativeBuckets(**fields["buckets"])
        if fields["relative"] is not None:
            record = Disentangled if "span" in fields["relative"] else RelativeSinusoids
            fields["relative"] = record(**fields["relative"])
        fields["kinds"] = tuple(
            AttentionKind(**kind | {"rotary": kind["rotary"] and _read_rotary(kind["rotary"])})
            for kind in fields["kinds"]
        )
        fields["kind_of_layer"] = tuple(fields["kind_of_layer"])
        return cls(**fields)


def split_evenly(width: int, heads: int) -> int:
    """Returns the width of a head, where heads share a width.

    Raises:
        ModelError: They do not share it evenly.
    """
    if heads < 1 or width % heads:
        raise ModelError(f"`residual_width` must be a multiple of `heads`, got {width} and {heads}.")
    return width // heads


def _read_rotary(content: Mapping[str, Any]) -> Rotary:
    return Rotary(frequencies=tuple(content["frequencies"]), factor=content["factor"])
