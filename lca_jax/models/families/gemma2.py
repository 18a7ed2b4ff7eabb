"""Gemma 2: norms before and after each part, capped scores, a sliding window in every other layer (Gemma team 2024)."""

from lca_jax.errors import ModelError
from lca_jax.hugging_face import PreTrainedConfig
from lca_jax.models.families.llama import (
    IGNORED,
    decoder_sources,
    read_attention,
    read_decoder_config,
)
from lca_jax.models.families.mapping import Family, Sources, Tensor, causal_head
from lca_jax.models.stack.config import EmbeddingConfig, HeadConfig, MlpConfig, Precision, StackConfig

_BLOCK = {
    "attention.query": "self_attn.q_proj",
    "attention.key": "self_attn.k_proj",
    "attention.value": "self_attn.v_proj",
    "attention.output": "self_attn.o_proj",
    "attention_norm": "input_layernorm",
    "attention_after_norm": "post_attention_layernorm",
    "mlp.gate": "mlp.gate_proj",
    "mlp.expand": "mlp.up_proj",
    "mlp.contract": "mlp.down_proj",
    "mlp_norm": "pre_feedforward_layernorm",
    "mlp_after_norm": "post_feedforward_layernorm",
}


def _read_config(config: PreTrainedConfig, dtype: Precision) -> StackConfig:
    if config.use_bidirectional_attention:
        raise ModelError(
            "A Gemma 2 model must be causal, got use_bidirectional_attention=True. Use another checkpoint."
        )
    return read_decoder_config(
        config,
        dtype,
        embedding=EmbeddingConfig(
            vocabulary=config.vocab_size, width=config.hidden_size, scale=config.hidden_size**0.5, norm=False
        ),
        attention=read_attention(
            config, scale=config.query_pre_attn_scalar**-0.5, softcap=config.attn_logit_softcapping
        ),
        mlp=MlpConfig(width=config.intermediate_size, activation=config.hidden_activation, gated=True, bias=False),
        arrangement="sandwich",
        head=HeadConfig(
            width=config.hidden_size,
            tied=config.tie_word_embeddings,
            bias=False,
            softcap=config.final_logit_softcapping,
        ),
    )


def _sources(config: StackConfig) -> Sources:
    plain = decoder_sources(config, _BLOCK)
    return {
        path: source._replace(change=_add_one) if path.endswith("norm.scale") else source
        for path, source in plain.items()
    }


def _add_one(scale: Tensor) -> Tensor:
    """Returns the scale of a norm; Gemma stores its difference from 1."""
    return scale.astype("float32") + 1


GEMMA2 = Family(
    read_config=_read_config,
    sources=_sources,
    head_sources=causal_head,
    prefix="model.",
    ignored=IGNORED,
)
"""`model_type` "gemma2"."""
