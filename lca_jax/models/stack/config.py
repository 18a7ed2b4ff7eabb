"""The shape of a transformer, and which of its sites and layers a caller may ask for.

A family file turns a Hugging Face config into a `StackConfig`; everything after it (modules, parameters, captures,
edits) reads only this record. It holds numbers and names, never arrays.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

from lca_jax.axes import DECODER, DECODER_SITES, SITES
from lca_jax.errors import ModelError
from lca_jax.models.stack.nonlinearity import NONLINEARITIES

Precision = Literal["float32", "bfloat16"]
Arrangement = Literal["post_norm", "pre_norm", "parallel", "sandwich"]
NormKind = Literal["layer", "rms"]
Mixing = Literal["attention", "recurrence"]


@dataclass(frozen=True, kw_only=True)
class EmbeddingConfig:
    """How pieces become the first hidden states."""

    vocabulary: int
    """Rows of the piece table; piece ids run below it."""
    shared: bool = False
    """Whether a decoder's piece table is its encoder's."""
    width: int
    """Of the tables."""
    projected: bool = False
    """Whether a matrix leads from the tables' width to the residual width; else they are the same."""
    project_first: bool = False
    """Whether that matrix stands before the norm, then without a bias, rather than after it."""
    positions: int = 0
    """Rows of the table of positions; 0 where positions are known in attention only."""
    first_position: int = 0
    """The row of a window's first piece: RoBERTa and OPT leave the first two to padding."""
    sinusoids: int = 0
    """Where that table holds sines and cosines (Vaswani et al. 2017, section 3.5), frequency i is
    10000^(-i / sinusoids), unless the checkpoint has a table of its own; 0 where the table is learned."""
    token_types: int = 0
    """Rows of the token type table; only type 0 is ever used, since a window is one sentence."""
    scale: float = 1.0
    """What piece vectors are multiplied with."""
    norm: bool = True
    """Whether the sum of the tables is normalised."""


@dataclass(frozen=True, kw_only=True)
class Rotary:
    """Rotary positions (Su et al. 2021): the first units of a head turn, in pairs, by position times frequency."""

    frequencies: tuple[float, ...]
    """Radians a position, one for every pair of units; half-split pairs (unit i with unit i + n)."""
    factor: float = 1.0
    """What sine and cosine are multiplied with."""


@dataclass(frozen=True, kw_only=True)
class RelativeBuckets:
    """A learned bias for every head and bucket of distances, added to the scores (Raffel et al. 2020)."""

    count: int
    """Buckets; half of them for pieces after one's own, where those are seen."""
    longest: int
    """Distances from here on share the last bucket."""


@dataclass(frozen=True, kw_only=True)
class Disentangled:
    """Scores of content with distance beside those of content with content (He et al. 2021, section 3.1)."""

    span: int
    """Numbers that distances to one side have; the table, one for all layers, has a row for each of both sides."""
    longest: int | None
    """Where the numbers of long distances grow with the logarithm, the distance that has the last one; None where every
    distance below `span` has its own."""
    content_to_position: bool
    """Whether the query of a piece meets the key of a distance."""
    position_to_content: bool
    """Whether the key of a piece meets the query of a distance."""
    shared: bool
    """Whether the matrices of pieces make query and key of distances too; else each layer has further ones."""
    norm: bool
    """Whether the table is normalised."""


@dataclass(frozen=True, kw_only=True)
class RelativeSinusoids:
    """Scores of content with sines and cosines of distance, and two biases (Dai et al. 2019, section 3.3)."""

    longest: int | None = None
    """Larger distances count as this one; None where each counts as itself."""


@dataclass(frozen=True, kw_only=True)
class AttentionKind:
    """What differs between the layers of one stack."""

    reach: int | None = None
    """How many positions away a piece sees; None for all."""
    rotary: Rotary | None = None
    """Rotary positions, if it has them."""


@dataclass(frozen=True, kw_only=True)
class AttentionConfig:
    """Attention heads of a block."""

    heads: int
    """Query heads."""
    head_width: int
    """Units of a head; the `attention` site has `heads` times as many neurons."""
    key_heads: int
    """Heads of keys and values, each shared by `heads / key_heads` query heads."""
    scale: float
    """What products of query and key are multiplied with."""
    causal: bool = False
    """Whether a piece sees only itself and those before it."""
    input_bias: bool = True
    """Of the matrices that make query, key and value."""
    output_bias: bool = True
    """Of the matrix after the heads."""
    head_norm: bool = False
    """Whether every head's query and key are normalised."""
    softcap: float | None = None
    """Scores s become softcap · tanh(s / softcap)."""
    buckets: RelativeBuckets | None = None
    """Bias by distance, one table for all layers."""
    relative: Disentangled | RelativeSinusoids | None = None
    """Scores that depend on distance and content, if it has them."""
    kinds: tuple[AttentionKind, ...] = (AttentionKind(),)
    """The kinds of layers there are."""
    kind_of_layer: tuple[int, ...] = ()
    """Which of `kinds` each layer is; empty where there is one kind."""

    @classmethod
    def plain(cls, *, width: int, heads: int, **changes: Any) -> "AttentionConfig":
        """Heads that share a width evenly, each with its own keys and values, scores divided by the root of its width.

        Args:
            width: Of all heads together.
            heads: Their number.
            changes: Other fields.

        Raises:
            ModelError: The heads do not share the width evenly.
        """
        head_width = split_evenly(width, heads)
        fields = {"heads": heads, "head_width": head_width, "key_heads": heads, "scale": head_width**-0.5}
        return cls(**fields | changes)


@dataclass(frozen=True, kw_only=True)
class MlpConfig:
    """The feed-forward part of a block."""

    width: int
    """Units between its matrices: the neurons of the `mlp` site."""
    activation: str
    """The non-linearity of those units, by its name in transformers: a key of `NONLINEARITIES`."""
    gated: bool = False
    """Whether the units are multiplied with a second product of the input (GLU; Shazeer 2020)."""
    bias: bool = True
    """Of all its matrices."""


@dataclass(frozen=True, kw_only=True)
class NormConfig:
    """The norms of the stack; all of one kind."""

    epsilon: float
    """Added to the variance."""
    kind: NormKind = "layer"
    """`layer` takes the mean away, `rms` does not."""
    bias: bool = True
    """Whether a layer norm has a bias; an `rms` norm has none."""


@dataclass(frozen=True, kw_only=True)
class HeadConfig:
    """What makes logits out of the last hidden states."""

    transform: str | None = None
    """Non-linearity of a matrix and norm before the logits, as masked language models have them; None without."""
    transform_bias: bool = True
    """Whether that matrix has a bias."""
    width: int
    """Neurons that meet the piece vectors."""
    tied: bool
    """Whether the piece vectors are those of the embedding."""
    bias: bool
    """Whether a piece has a bias."""
    scale: float = 1.0
    """What the hidden states are multiplied with."""
    softcap: float | None = None
    """Logits x become softcap · tanh(x / softcap)."""


@dataclass(frozen=True, kw_only=True)
class StackConfig:
    """One transformer stack: sizes, non-linearity, and the precision it runs in."""

    family: str
    """The `model_type` of the Hugging Face config it was read from."""
    layers: int
    """Blocks. The residual site has one layer more: its layer 0 is the embedding output."""
    residual_width: int
    """Neurons of a hidden state."""
    longest_window: int
    """Pieces that one window may have."""
    embedding: EmbeddingConfig
    attention: AttentionConfig
    mlp: MlpConfig
    norm: NormConfig
    arrangement: Arrangement
    """Where a block has its norms: after adding (`post_norm`), before each part (`pre_norm`), before both parts, which
    read the same states (`parallel`), or before and after each part (`sandwich`)."""
    final_norm: bool = False
    """Whether the last hidden states, layer `layers` of the residual site, are normalised once more."""
    first_attention_norm: bool = True
    """Whether the first block normalises what its attention reads."""
    block_of_layer: tuple[int, ...] = ()
    """Which block's parameters each layer has, where layers share them; empty where each has its own."""
    mixing: Mixing = "attention"
    """What brings pieces together: attention, or a recurrence over the pieces before (`models.recurrence`)."""
    cross: bool = False
    """Whether every block attends to the states of another stack, between its own two parts."""
    head: HeadConfig | None = None
    """The language model's head; None where only hidden states are wanted."""
    decoder: "StackConfig | None" = None
    """The stack that attends to this one's last hidden states, and has the head; None where there is none or only the
    encoder is wanted."""
    initializer_range: float
    """Standard deviation of the untrained matrices, for the baseline of random weights."""
    dtype: Precision = "float32"
    """Of matrices and hidden states. `bfloat16` halves memory, for accelerators; norms and softmax stay float32."""

    def __post_init__(self) -> None:
        sizes = {
            "layers": self.layers,
            "residual_width": self.residual_width,
            "longest_window": self.longest_window,
            "vocabulary": self.embedding.vocabulary,
            "heads": self.attention.heads,
            "head_width": self.attention.head_width,
            "key_heads": self.attention.key_heads,
            "mlp width": self.mlp.width,
        }
        problems = [f"`{size}` must be at least 1" for size, value in sizes.items() if value < 1]
        if not problems and self.attention.heads % self.attention.key_heads:
            problems.append("`heads` must be a multiple of `key_heads`")
        if self.attention.relative is not None and self.attention.heads != self.attention.key_heads:
            problems.append("`heads` and `key_heads` must be equal where attention is `relative`")
        if self.cross and self.arrangement not in ("post_norm", "pre_norm"):
            problems.append("`arrangement` must be post_norm or pre_norm in a decoder that attends to an encoder")
        if self.decoder is not None and self.decoder.residual_width != self.residual_width:
            problems.append("`residual_width` must be the same in encoder and decoder")
        for name, value, known in (
            ("activation", self.mlp.activation, NONLINEARITIES),
            ("dtype", self.dtype, get_args(Precision)),
        ):
            if value not in known:
                problems.append(f"`{name}` must be one of {', '.join(known)}, got {value!r}")
        if problems:
            raise ModelError(f"{self} cannot be built: {'; '.join(problems)}.")

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> "StackConfig":
        """The inverse of `dataclasses.asdict`, after JSON has made lists of tuples."""
        fields = dict(content)
        attention = dict(fields["attention"])
        attention["buckets"] = attention["buckets"] and RelativeBuckets(**attention["buckets"])
        if attention["relative"] is not None:
            kind = Disentangled if "span" in attention["relative"] else RelativeSinusoids
            attention["relative"] = kind(**attention["relative"])
        attention["kinds"] = tuple(
            AttentionKind(reach=kind["reach"], rotary=kind["rotary"] and _read_rotary(kind["rotary"]))
            for kind in attention["kinds"]
        )
        attention["kind_of_layer"] = tuple(attention["kind_of_layer"])
        fields |= {
            "embedding": EmbeddingConfig(**fields["embedding"]),
            "attention": AttentionConfig(**attention),
            "mlp": MlpConfig(**fields["mlp"]),
            "norm": NormConfig(**fields["norm"]),
            "block_of_layer": tuple(fields["block_of_layer"]),
            "head": fields["head"] and HeadConfig(**fields["head"]),
            "decoder": fields["decoder"] and cls.from_json(fields["decoder"]),
        }
        return cls(**fields)

    @property
    def heads_width(self) -> int:
        """Units of all heads of a block: the neurons of the `attention` site."""
        return self.attention.heads * self.attention.head_width

    @property
    def blocks(self) -> tuple[int, ...]:
        """For each layer, the number of its block."""
        return self.block_of_layer or tuple(range(self.layers))

    @property
    def sites(self) -> tuple[str, ...]:
        """Names of all sites, a decoder's after its encoder's."""
        return SITES if self.decoder is None else SITES + DECODER_SITES

    @property
    def language_head(self) -> HeadConfig | None:
        """The head of this stack or of its decoder."""
        return self.head if self.decoder is None else self.decoder.head

    def layer_count(self, site: str) -> int:
        """Number of layers at a site.

        Raises:
            ModelError: There is no such site; the message lists the known ones.
        """
        stack, name = self._stack_of(site)
        return stack.layers + (name == "residual")

    def site_width(self, site: str) -> int:
        """Number of neurons in one layer of a site."""
        stack, name = self._stack_of(site)
        if name == "residual":
            return stack.residual_width
        return stack.mlp.width if name == "mlp" else stack.heads_width

    def _stack_of(self, site: str) -> "tuple[StackConfig, str]":
        """Whose site it is, and what it is called there."""
        if site not in self.sites:
            more = "" if self.decoder is not None or site not in DECODER_SITES else " Only an encoder is loaded here."
            raise ModelError(f"No site {site!r}. Sites: {', '.join(self.sites)}.{more}")
        if self.decoder is not None and site.startswith(DECODER):
            return self.decoder, site.removeprefix(DECODER)
        return self, site

    def choose_layers(
        self, sites: Sequence[str], layers: Sequence[int] | Mapping[str, Sequence[int]] | None = None
    ) -> dict[str, tuple[int, ...]]:
        """Says which layers of each site are meant, in the order asked for.

        Args:
            sites: Names of sites, each once.
            layers: Layer numbers for every site alike; or a mapping from site to layer numbers, where a site that is
                left out means all of its layers; or None for all layers of all sites.

        Raises:
            ModelError: A site or a layer is unknown, stands twice, or nothing is asked for.
        """
        if not sites or len(set(sites)) != len(sites):
            raise ModelError(f"`sites` must name at least one site, each once, got {tuple(sites)}.")
        by_site = layers if isinstance(layers, Mapping) else dict.fromkeys(sites, layers)
        if idle := sorted(set(by_site) - set(sites)):
            raise ModelError(f"`layers` names {', '.join(idle)}, which is not among the sites {', '.join(sites)}.")
        return {site: self._check_layers(site, by_site.get(site)) for site in sites}

    def _check_layers(self, site: str, layers: Sequence[int] | None) -> tuple[int, ...]:
        count = self.layer_count(site)
        chosen = tuple(range(count)) if layers is None else tuple(layers)
        if not chosen or len(set(chosen)) != len(chosen) or not set(chosen) <= set(range(count)):
            raise ModelError(f"Layers of `{site}` run from 0 to {count - 1} and may be asked for once, got {chosen}.")
        return chosen


def _read_rotary(content: Mapping[str, Any]) -> Rotary:
    return Rotary(frequencies=tuple(content["frequencies"]), factor=content["factor"])


def split_evenly(width: int, heads: int) -> int:
    """The width of a head, where heads share a width.

    Raises:
        ModelError: They do not share it evenly.
    """
    if heads < 1 or width % heads:
        raise ModelError(f"`residual_width` must be a multiple of `heads`, got {width} and {heads}.")
    return width // heads
