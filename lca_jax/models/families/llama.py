"""Llama: a pre-norm decoder with rotary positions, RMS norms and a gated feed-forward part (Touvron et al. 2023).

Mistral, Qwen 2 and 3, SmolLM and many others have the same blocks under the same names; their additions are here too.
"""

from typing import Any

from lca_jax.hugging_face import PreTrainedConfig
from lca_jax.models.families.mapping import Family, Sources, blocks, causal_head, embedding, norm
from lca_jax.models.families.rotary import read_rotary
from lca_jax.models.stack.attention_config import AttentionConfig, AttentionKind, split_evenly
from lca_jax.models.stack.config import EmbeddingConfig, HeadConfig, MlpConfig, NormConfig, Precision, StackConfig

_BLOCK = {
    "attention.query": "self_attn.q_proj",
    "attention.key": "self_attn.k_proj",
    "attention.value": "self_attn.v_proj",
    "attention.output": "self_attn.o_proj",
    "attention_norm": "input_layernorm",
    "mlp.gate": "mlp.gate_proj",
    "mlp.expand": "mlp.up_proj",
    "mlp.contract": "mlp.down_proj",
    "mlp_norm": "post_attention_layernorm",
}
_HEAD_NORMS = {"attention.query_norm": "self_attn.q_norm", "attention.key_norm": "self_attn.k_norm"}


def read_attention(config: PreTrainedConfig, **changes: Any) -> AttentionConfig:
    """Returns the attention of a decoder whose config has the keys of Llama's; some layers may be sliding windows.

    Args:
        config: The Hugging Face config.
        changes: Fields of the `AttentionConfig` that differ from Llama's.

    Raises:
        ModelError: Its rotary positions are of a type that is not supported.
    """
    head_width = getattr(config, "head_dim", None) or split_evenly(config.hidden_size, config.num_attention_heads)
    rotary = read_rotary(config.rope_parameters, head_width=head_width)
    types = list(getattr(config, "layer_types", None) or ())
    window = getattr(config, "sliding_window", None)
    if not types:
        types = ["full_attention" if window is None else "sliding_attention"] * config.num_hidden_layers
    kinds = sorted(set(types))
    # A window of n pieces holds the piece itself and the n - 1 pieces before it.
    reach = {"full_attention": None, "sliding_attention": None if window is None else window - 1}
    bias = getattr(config, "attention_bias", False)
    fields: dict[str, Any] = {
        "heads": config.num_attention_heads,
        "head_width": head_width,
        "key_heads": config.num_key_value_heads,
        "scale": head_width**-0.5,
        "causal": True,
        "input_bias": bias,
        "output_bias": bias,
        "kinds": tuple(AttentionKind(reach=reach[kind], rotary=rotary) for kind in kinds),
        "kind_of_layer": tuple(kinds.index(kind) for kind in types),
    }
    return AttentionConfig(**fields | changes)


def read_decoder_config(config: PreTrainedConfig, dtype: Precision, **changes: Any) -> StackConfig:
    """Returns the stack of a decoder whose config has the keys of Llama's.

    Args:
        config: The Hugging Face config.
        dtype: Precision of the stack.
        changes: Fields of the `StackConfig` that differ from Llama's.

    Raises:
        ModelError: Its rotary positions are of a type that is not supported.
    """
    fields: dict[str, Any] = {
        "family": config.model_type,
        "layers": config.num_hidden_layers,
        "residual_width": config.hidden_size,
        "longest_window": config.max_position_embeddings,
        "embedding": EmbeddingConfig(vocabulary=config.vocab_size, width=config.hidden_size, norm=False),
        "norm": NormConfig(epsilon=config.rms_norm_eps, kind="rms"),
        "arrangement": "pre_norm",
        "final_norm": True,
        "head": HeadConfig(width=config.hidden_size, tied=config.tie_word_embeddings, bias=False),
        "initializer_range": config.initializer_range,
        "dtype": dtype,
    }
    if "attention" not in changes:
        fields["attention"] = read_attention(config)
    if "mlp" not in changes:
        bias = getattr(config, "mlp_bias", False)
        fields["mlp"] = MlpConfig(width=config.intermediate_size, activation=config.hidden_act, gated=True, bias=bias)
    return StackConfig(**fields | changes)


def decoder_sources(config: StackConfig, names: dict[str, str] = _BLOCK) -> Sources:
    """Returns the sources of embedding, blocks and last norm, with the names of Llama."""
    head_norms = _HEAD_NORMS if config.attention.head_norm else {}
    return {
        **embedding("embedding.pieces", "embed_tokens"),
        **blocks(config, "layers.{}", names | head_norms),
        **norm("final_norm", "norm", bias=False),
    }


def _read_qwen2_config(config: PreTrainedConfig, dtype: Precision) -> StackConfig:
    return read_decoder_config(config, dtype, attention=read_attention(config, input_bias=True))


def _read_qwen3_config(config: PreTrainedConfig, dtype: Precision) -> StackConfig:
    return read_decoder_config(config, dtype, attention=read_attention(config, head_norm=True))


IGNORED = r"(lm_head|score|classifier|qa_outputs)\..*|layers\.\d+\.self_attn\.rotary_emb\.inv_freq"
"""Tensors of Llama's checkpoints that no hidden state depends on."""

LLAMA = Family(
    read_config=read_decoder_config,
    sources=decoder_sources,
    head_sources=causal_head,
    prefix="model.",
    ignored=IGNORED,
)
"""`model_type` "llama" and "mistral": Llama 1 to 3, SmolLM, TinyStories, Mistral with its sliding window."""

QWEN2 = Family(
    read_config=_read_qwen2_config,
    sources=decoder_sources,
    head_sources=causal_head,
    prefix="model.",
    ignored=IGNORED,
)
"""`model_type` "qwen2": query, key and value have a bias."""

QWEN3 = Family(
    read_config=_read_qwen3_config,
    sources=decoder_sources,
    head_sources=causal_head,
    prefix="model.",
    ignored=IGNORED,
)
"""`model_type` "qwen3": query and key of every head are normalised."""
