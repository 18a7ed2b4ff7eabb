"""The shape of a transformer, and which of its sites and layers a caller may read or edit.

A family file turns a Hugging Face config into a `StackConfig`; everything after it (modules, parameters, captures,
edits) reads only this record. It holds numbers and names, never arrays. A model's fingerprint covers the names and
values of all fields, and stores are known by that fingerprint: a renamed or an added field makes every store of the
model another one's.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

from lca_jax.axes import DECODER, DECODER_SITES, LSTM_DECODER_SITES, LSTM_SITES, SITES, Layers, choose_layers
from lca_jax.errors import ModelError, SettingsError
from lca_jax.machine.fields import check_fields
from lca_jax.models.choices import Precision
from lca_jax.models.stack.attention_config import AttentionConfig, RelativeSinusoids
from lca_jax.models.stack.nonlinearity import NONLINEARITIES

Arrangement = Literal["post_norm", "pre_norm", "parallel", "sandwich"]
NormKind = Literal["layer", "rms"]
Mixing = Literal["attention", "recurrence", "lstm"]


@dataclass(frozen=True, kw_only=True)
class EmbeddingConfig:
    """How pieces become the first hidden states."""

    vocabulary: int
    """Number of vectors in the piece table; piece ids are below it."""
    shared: bool = False
    """Whether a decoder uses the piece table of its encoder."""
    width: int
    """Width of the tables."""
    projected: bool = False
    """Whether a matrix leads from the width of the tables to the residual width; if not, the two are equal."""
    project_first: bool = False
    """Whether that matrix stands before the norm and has no bias; if not, it stands after the norm and has one."""
    positions: int = 0
    """Number of vectors in the position table; 0 where only attention depends on positions."""
    first_position: int = 0
    """Index of a window's first piece in that table: RoBERTa and OPT leave the first two vectors to padding."""
    sinusoids: int = 0
    """Divisor in the frequencies 10000^(-i / sinusoids), where the position table holds sines and cosines (Vaswani et
    al. 2017, section 3.5) unless the checkpoint has a table of its own; 0 where the table is learned."""
    token_types: int = 0
    """Number of vectors in the token type table; a window of one sentence uses type 0 alone."""
    scale: float = 1.0
    """Factor of the piece vectors."""
    norm: bool = True
    """Whether the sum of the tables is normalised."""


@dataclass(frozen=True, kw_only=True)
class MlpConfig:
    """The feed-forward part of a block."""

    width: int
    """Units between its matrices: the neurons of the `mlp` site."""
    activation: str
    """Non-linearity of those units, by its name in transformers: a key of `NONLINEARITIES`."""
    gated: bool = False
    """Whether the units are multiplied with a second product of the input (GLU; Shazeer 2020)."""
    bias: bool = True
    """Whether all its matrices have a bias."""


@dataclass(frozen=True, kw_only=True)
class NormConfig:
    """The norms of the stack; all are of one kind."""

    epsilon: float
    """Added to the variance."""
    kind: NormKind = "layer"
    """A `layer` norm takes the mean away, an `rms` norm does not."""
    bias: bool = True
    """Whether a layer norm has a bias; an `rms` norm never has one."""


@dataclass(frozen=True, kw_only=True)
class HeadConfig:
    """The language model's head, which turns the last hidden states into logits."""

    transform: str | None = None
    """Non-linearity of a matrix and norm before the logits, as masked language models have them; None without."""
    transform_bias: bool = True
    """Whether that matrix has a bias."""
    width: int
    """Number of neurons that are multiplied with the piece vectors."""
    tied: bool
    """Whether the piece vectors are those of the embedding."""
    bias: bool
    """Whether every piece has a bias."""
    scale: float = 1.0
    """Factor of the hidden states."""
    softcap: float | None = None
    """Logits x become softcap · tanh(x / softcap); None leaves them as they are."""


@dataclass(frozen=True, kw_only=True)
class StackConfig:
    """One transformer stack: sizes, non-linearity, and the precision it runs in."""

    family: str
    """The `model_type` of the Hugging Face config that it was read from."""
    layers: int
    """Number of blocks. The residual site has one layer more: its layer 0 is the embedding output."""
    residual_width: int
    """Number of neurons in a hidden state."""
    longest_window: int
    """Maximum number of pieces in one window."""
    embedding: EmbeddingConfig
    attention: AttentionConfig
    mlp: MlpConfig
    norm: NormConfig
    arrangement: Arrangement
    """Places of the norms in a block: after adding (`post_norm`), before each part (`pre_norm`), before both parts,
    which read the same states (`parallel`), or before and after each part (`sandwich`)."""
    final_norm: bool = False
    """Whether the last hidden states, layer `layers` of the residual site, are normalised once more."""
    first_attention_norm: bool = True
    """Whether the first block normalises the input of its attention."""
    block_of_layer: tuple[int, ...] = ()
    """Number of the block whose parameters each layer uses, where layers share them; empty where each layer has its
    own."""
    mixing: Mixing = "attention"
    """How pieces exchange information: by attention, by a recurrence over the pieces before (`recurrence`), or by LSTMs
    (`lstm`). A block is then an LSTM layer, and the other words mean its parts: `attention.heads` its directions, one
    if it is `causal` and two otherwise, `head_width` the cells of a direction, `mlp.width` the gates of all cells;
    where the numbers of cells and residual neurons differ, a matrix leads from the first to the others."""
    cross: bool = False
    """Whether every block attends to the states of another stack, between its own two parts."""
    head: HeadConfig | None = None
    """The language model's head; None where only hidden states are computed."""
    decoder: "StackConfig | None" = None
    """The stack that attends to this one's last hidden states, and has the head; None where there is none or only the
    encoder is loaded."""
    initializer_range: float
    """Standard deviation of the untrained matrices, for the baseline of random weights."""
    dtype: Precision = "float32"
    """Precision of matrices and hidden states. `bfloat16` halves memory, for accelerators; norms and softmax stay in
    float32."""

    def __post_init__(self) -> None:
        for part in (self, self.embedding, self.attention, self.mlp, self.norm, *([self.head] if self.head else [])):
            check_fields(part, error=ModelError)
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
        if self.mixing == "lstm":
            directions = 1 if self.attention.causal else 2
            if (self.attention.heads, self.mlp.width) != (directions, 4 * self.heads_width):
                problems.append("an LSTM has one direction where it is causal and two otherwise, and 4 gates a cell")
            if self.residual_width % directions:
                problems.append("`residual_width` must be even in an LSTM of two directions")
        if self.decoder is not None and self.decoder.residual_width != self.residual_width:
            problems.append("`residual_width` must be the same in encoder and decoder")
        if not self.norm.epsilon >= 0:
            problems.append(f"`epsilon` must be 0 or more, got {self.norm.epsilon}")
        for name, value, choices in (
            ("activation", self.mlp.activation, NONLINEARITIES),
            ("dtype", self.dtype, get_args(Precision)),
        ):
            if value not in choices:
                problems.append(f"`{name}` must be one of {', '.join(choices)}, got {value!r}")
        if problems:
            raise ModelError(f"{self} cannot be built: {'; '.join(problems)}.")

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> "StackConfig":
        """Inverts `dataclasses.asdict`, after JSON has made lists of the tuples."""
        fields = dict(content)
        fields |= {
            "embedding": EmbeddingConfig(**fields["embedding"]),
            "attention": AttentionConfig.from_json(fields["attention"]),
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
        """The number of its block for each layer."""
        return self.block_of_layer or tuple(range(self.layers))

    @property
    def sites(self) -> tuple[str, ...]:
        """Names of all sites, those of a decoder after those of its encoder."""
        own = LSTM_SITES if self.mixing == "lstm" else SITES
        if self.decoder is None:
            return own
        return own + (LSTM_DECODER_SITES if self.decoder.mixing == "lstm" else DECODER_SITES)

    @property
    def language_head(self) -> HeadConfig | None:
        """The head of this stack or of its decoder."""
        return self.head if self.decoder is None else self.decoder.head

    def tells_types_apart(self, highest: int) -> bool:
        """Returns whether the stack has vectors, or segment terms, for token types up to a number."""
        relative = self.attention.relative
        return self.embedding.token_types > highest or (isinstance(relative, RelativeSinusoids) and relative.segments)

    def layer_count(self, site: str) -> int:
        """Returns the number of layers at a site.

        Raises:
            SettingsError: The model does not have this site; the message lists those it has.
        """
        stack, name = self._stack_of(site)
        return stack.layers + (name == "residual")

    def site_width(self, site: str) -> int:
        """Returns the number of neurons in one layer of a site.

        Raises:
            SettingsError: The model does not have this site; the message lists those it has.
        """
        stack, name = self._stack_of(site)
        if name == "residual":
            return stack.residual_width
        return stack.mlp.width if name in ("mlp", "gates") else stack.heads_width

    def _stack_of(self, site: str) -> "tuple[StackConfig, str]":
        """Returns the stack that a site belongs to, and the site's name in that stack."""
        if site not in self.sites:
            reason = " Only the encoder is loaded here." if self.decoder is None and site.startswith(DECODER) else ""
            raise SettingsError(f"The model does not have a site {site!r}. Its sites: {', '.join(self.sites)}.{reason}")
        if self.decoder is not None and site.startswith(DECODER):
            return self.decoder, site.removeprefix(DECODER)
        return self, site

    def choose_layers(self, sites: Sequence[str], layers: Layers = None) -> dict[str, tuple[int, ...]]:
        """Returns the chosen layers of each site, in the requested order.

        Args:
            sites: Names of sites, each once.
            layers: Layer numbers for every site alike; or a mapping from site to layer numbers, where a site that is
                left out means all of its layers; or None for all layers of all sites.

        Raises:
            SettingsError: A site or a layer is unknown, one is named twice, or none is.
        """
        for site in sites:
            self._stack_of(site)
        known = {site: range(self.layer_count(site)) for site in self.sites}
        return choose_layers(known, sites, layers, place="the model")
