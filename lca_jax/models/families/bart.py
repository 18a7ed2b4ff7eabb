"""The encoders of BART, mBART, Marian and M2M100, which are one encoder with different positions and norms.

Sources: Lewis et al. 2020 (BART), Liu et al. 2020 (mBART), Junczys-Dowmunt et al. 2018 (Marian), Fan et al. 2021
(M2M100) and NLLB team 2022.
"""

from functools import partial
from typing import NamedTuple

from transformers import PreTrainedConfig

from lca_jax.models.config import (
    Arrangement,
    AttentionConfig,
    EmbeddingConfig,
    MlpConfig,
    NormConfig,
    Precision,
    StackConfig,
)
from lca_jax.models.mapping import Family, Source, Sources, blocks, embedding, no_head, norm

_PADDING_ROWS = 2
_BLOCK = {
    "attention.query": "self_attn.q_proj",
    "attention.key": "self_attn.k_proj",
    "attention.value": "self_attn.v_proj",
    "attention.output": "self_attn.out_proj",
    "attention_norm": "self_attn_layer_norm",
    "mlp.expand": "fc1",
    "mlp.contract": "fc2",
    "mlp_norm": "final_layer_norm",
}


class _Variant(NamedTuple):
    """What the models of this file differ in."""

    arrangement: Arrangement
    embedding_norm: bool
    learned_positions: bool
    padding_rows: int
    sinusoid_gap: int = 0
    """Frequencies of sinusoids fall to 1/10000 over half the width less this."""


_BART = _Variant("post_norm", embedding_norm=True, learned_positions=True, padding_rows=_PADDING_ROWS)
_MBART = _Variant("pre_norm", embedding_norm=True, learned_positions=True, padding_rows=_PADDING_ROWS)
_MARIAN = _Variant("post_norm", embedding_norm=False, learned_positions=False, padding_rows=0)
_M2M100 = _Variant(
    "pre_norm", embedding_norm=False, learned_positions=False, padding_rows=_PADDING_ROWS, sinusoid_gap=1
)


def _read_config(config: PreTrainedConfig, dtype: Precision, *, variant: _Variant) -> StackConfig:
    rows = config.max_position_embeddings + variant.padding_rows
    return StackConfig(
        family=config.model_type,
        layers=config.encoder_layers,
        residual_width=config.d_model,
        longest_window=config.max_position_embeddings,
        embedding=EmbeddingConfig(
            vocabulary=config.vocab_size,
            width=config.d_model,
            positions=rows if variant.learned_positions else 0,
            sinusoids=0 if variant.learned_positions else config.d_model // 2 - variant.sinusoid_gap,
            first_position=variant.padding_rows,
            scale=config.d_model**0.5 if config.scale_embedding else 1.0,
            norm=variant.embedding_norm,
        ),
        attention=AttentionConfig.plain(width=config.d_model, heads=config.encoder_attention_heads),
        mlp=MlpConfig(width=config.encoder_ffn_dim, activation=config.activation_function),
        norm=NormConfig(epsilon=1e-5),
        arrangement=variant.arrangement,
        final_norm=variant.arrangement == "pre_norm",
        initializer_range=config.init_std,
        dtype=dtype,
    )


def _sources(config: StackConfig) -> Sources:
    positions = embedding("embedding.positions", "encoder.embed_positions")
    return {
        "embedding.pieces.embedding": Source("shared.weight", other_key="encoder.embed_tokens.weight"),
        **(positions if config.embedding.positions else {}),
        **(norm("embedding.norm", "encoder.layernorm_embedding") if config.embedding.norm else {}),
        **blocks(config, "encoder.layers.{}", _BLOCK),
        **(norm("final_norm", "encoder.layer_norm") if config.final_norm else {}),
    }


def _family(variant: _Variant) -> Family:
    stored = "" if variant.learned_positions else r"|encoder\.embed_positions\.weights?"
    return Family(
        read_config=partial(_read_config, variant=variant),
        sources=_sources,
        head_sources=no_head,
        prefix="model.",
        ignored=r"(decoder|lm_head|classification_head|qa_outputs)\..*|final_logits_bias" + stored,
    )


BART = _family(_BART)
"""`model_type` "bart"."""
MBART = _family(_MBART)
"""`model_type` "mbart"."""
MARIAN = _family(_MARIAN)
"""`model_type` "marian": the translation models of OPUS-MT."""
M2M100 = _family(_M2M100)
"""`model_type` "m2m_100": M2M100 and NLLB."""
