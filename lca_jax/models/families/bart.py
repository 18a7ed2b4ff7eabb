"""BART, mBART, Marian and M2M100: one encoder-decoder, with positions and norms that differ.

Sources: Lewis et al. 2020 (BART), Liu et al. 2020 (mBART), Junczys-Dowmunt et al. 2018 (Marian), Fan et al. 2021
(M2M100) and NLLB team 2022. Marian's fast models have a recurrence in the decoder (Kim et al. 2019); their configs say
`"decoder_type": "ssru"`, and their tensors are `ssru.forget_gate` and `ssru.input_proj`.
"""

from collections.abc import Mapping
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from lca_jax.errors import ModelError
from lca_jax.hugging_face import PreTrainedConfig
from lca_jax.models.families.mapping import Family, Source, Sources, Tensor, blocks, embedding, norm
from lca_jax.models.stack.attention_config import AttentionConfig
from lca_jax.models.stack.config import (
    Arrangement,
    EmbeddingConfig,
    HeadConfig,
    MlpConfig,
    NormConfig,
    Precision,
    StackConfig,
)
from lca_jax.models.stack.embedding import sinusoid_table

_PADDING_POSITIONS = 2
_ATTENTION = {
    "attention.query": "self_attn.q_proj",
    "attention.key": "self_attn.k_proj",
    "attention.value": "self_attn.v_proj",
    "attention.output": "self_attn.out_proj",
}
_RECURRENCE = {"attention.forget": "ssru.forget_gate", "attention.input": "ssru.input_proj"}
_BLOCK = {
    "attention_norm": "self_attn_layer_norm",
    "mlp.expand": "fc1",
    "mlp.contract": "fc2",
    "mlp_norm": "final_layer_norm",
}
_CROSS = {
    "cross.query": "encoder_attn.q_proj",
    "cross.key": "encoder_attn.k_proj",
    "cross.value": "encoder_attn.v_proj",
    "cross.output": "encoder_attn.out_proj",
    "cross_norm": "encoder_attn_layer_norm",
}


class _Variant(NamedTuple):
    """The differences between the models of this file."""

    arrangement: Arrangement
    embedding_norm: bool
    learned_positions: bool
    padding_positions: int | None
    """Number of positions before the first one; None where they end with the number of the padding piece."""
    sinusoid_gap: int = 0
    """Frequencies of sinusoids fall to 1/10000 over half the width minus this number."""
    head_bias: bool = True
    """Whether every piece has a bias in the logits; where the checkpoint has none, it is zero."""


_BART = _Variant("post_norm", embedding_norm=True, learned_positions=True, padding_positions=_PADDING_POSITIONS)
_MBART = _Variant("pre_norm", embedding_norm=True, learned_positions=True, padding_positions=_PADDING_POSITIONS)
_MARIAN = _Variant("post_norm", embedding_norm=False, learned_positions=False, padding_positions=0)
_M2M100 = _Variant(
    "pre_norm",
    embedding_norm=False,
    learned_positions=False,
    padding_positions=None,
    sinusoid_gap=1,
    head_bias=False,
)


def _read_config(config: PreTrainedConfig, dtype: Precision, *, variant: _Variant) -> StackConfig:
    decoder_type = getattr(config, "decoder_type", None)
    if decoder_type not in (None, "ssru"):
        raise ModelError(
            f"A decoder must attend to its own pieces or be an SSRU, got decoder_type={decoder_type!r}. "
            "Use another checkpoint."
        )
    shared = getattr(config, "share_encoder_decoder_embeddings", True)
    width = config.d_model
    decoder = _read_side(
        config,
        dtype,
        variant,
        layers=config.decoder_layers,
        embedding=_read_embedding(
            config, variant, vocabulary=config.vocab_size if shared else config.decoder_vocab_size, shared=shared
        ),
        attention=AttentionConfig.plain(width=width, heads=config.decoder_attention_heads, causal=True),
        mlp=MlpConfig(width=config.decoder_ffn_dim, activation=config.activation_function),
        mixing="attention" if decoder_type is None else "recurrence",
        cross=True,
        head=HeadConfig(width=width, tied=config.tie_word_embeddings, bias=variant.head_bias),
    )
    return _read_side(
        config,
        dtype,
        variant,
        layers=config.encoder_layers,
        embedding=_read_embedding(config, variant, vocabulary=config.vocab_size, shared=False),
        attention=AttentionConfig.plain(width=width, heads=config.encoder_attention_heads),
        mlp=MlpConfig(width=config.encoder_ffn_dim, activation=config.activation_function),
        decoder=decoder,
    )


def _read_side(config: PreTrainedConfig, dtype: Precision, variant: _Variant, **fields: Any) -> StackConfig:
    """Returns the stack of encoder or decoder; `fields` are those in which the two differ."""
    return StackConfig(
        family=config.model_type,
        residual_width=config.d_model,
        longest_window=config.max_position_embeddings,
        norm=NormConfig(epsilon=1e-5),
        arrangement=variant.arrangement,
        final_norm=variant.arrangement == "pre_norm",
        initializer_range=config.init_std,
        dtype=dtype,
        **fields,
    )


def _read_embedding(config: PreTrainedConfig, variant: _Variant, *, vocabulary: int, shared: bool) -> EmbeddingConfig:
    before = config.pad_token_id + 1 if variant.padding_positions is None else variant.padding_positions
    return EmbeddingConfig(
        vocabulary=vocabulary,
        shared=shared,
        width=config.d_model,
        positions=config.max_position_embeddings + before,
        sinusoids=0 if variant.learned_positions else config.d_model // 2 - variant.sinusoid_gap,
        first_position=before,
        scale=config.d_model**0.5 if config.scale_embedding else 1.0,
        norm=variant.embedding_norm,
    )


def _sources(config: StackConfig) -> Sources:
    pieces = {"embedding.pieces.embedding": Source("shared.weight", other_key="encoder.embed_tokens.weight")}
    encoder = _side_sources(config, "encoder", _ATTENTION | _BLOCK)
    if config.decoder is None:
        return pieces | encoder
    mixing = _RECURRENCE if config.decoder.mixing == "recurrence" else _ATTENTION
    decoder = _side_sources(config.decoder, "decoder", mixing | _CROSS | _BLOCK, inside="decoder.")
    if not config.decoder.embedding.shared:
        decoder |= embedding("decoder.embedding.pieces", "decoder.embed_tokens")
    return pieces | encoder | decoder


def _side_sources(config: StackConfig, side: str, names: Mapping[str, str], *, inside: str = "") -> Sources:
    shape = config.embedding
    key = f"{side}.embed_positions.weight"
    positions = Source(key)
    if shape.sinusoids:
        table = partial(sinusoid_table, shape.positions, shape.width, sinusoids=shape.sinusoids)
        positions = Source(key, other_key=f"{key}s", otherwise=table)
    return {
        f"{inside}embedding.positions.embedding": positions,
        **(norm(f"{inside}embedding.norm", f"{side}.layernorm_embedding") if shape.norm else {}),
        **blocks(config, side + ".layers.{}", names, inside=inside),
        **(norm(f"{inside}final_norm", f"{side}.layer_norm") if config.final_norm else {}),
    }


def _head_sources(config: StackConfig, head: HeadConfig) -> Sources:
    vocabulary = (config.decoder or config).embedding.vocabulary
    pieces = {} if head.tied else embedding("decoder.head.pieces", "lm_head")
    no_bias = partial(np.zeros, (vocabulary,), np.float32)
    bias = {"decoder.head.bias": Source("final_logits_bias", _only_row, otherwise=no_bias)}
    return pieces | (bias if head.bias else {})


def _only_row(tensor: Tensor) -> Tensor:
    return tensor[0]


def _family(variant: _Variant) -> Family:
    return Family(
        read_config=partial(_read_config, variant=variant),
        sources=_sources,
        head_sources=_head_sources,
        prefix="model.",
        ignored=r"(lm_head|classification_head|qa_outputs)\..*|final_logits_bias|decoder\.embed_tokens\.weight",
        decoder=r"decoder\..*",
    )


BART = _family(_BART)
"""`model_type` "bart"."""
MBART = _family(_MBART)
"""`model_type` "mbart"."""
MARIAN = _family(_MARIAN)
"""`model_type` "marian": the translation models of OPUS-MT, and those with an SSRU."""
M2M100 = _family(_M2M100)
"""`model_type` "m2m_100": M2M100 and NLLB."""
