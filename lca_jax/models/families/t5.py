"""The encoder of T5 and mT5: a pre-norm stack whose only positions are a bias by distance (Raffel et al. 2020)."""

from transformers import PreTrainedConfig

from lca_jax.models.config import (
    AttentionConfig,
    EmbeddingConfig,
    MlpConfig,
    NormConfig,
    Precision,
    RelativeBuckets,
    StackConfig,
)
from lca_jax.models.mapping import Family, Source, Sources, blocks, embedding, no_head, norm

_USUAL_WINDOW = 512
_ATTENTION = {
    "attention.query": "layer.0.SelfAttention.q",
    "attention.key": "layer.0.SelfAttention.k",
    "attention.value": "layer.0.SelfAttention.v",
    "attention.output": "layer.0.SelfAttention.o",
    "attention_norm": "layer.0.layer_norm",
    "mlp.contract": "layer.1.DenseReluDense.wo",
    "mlp_norm": "layer.1.layer_norm",
}
_PLAIN = {"mlp.expand": "layer.1.DenseReluDense.wi"}
_GATED = {"mlp.gate": "layer.1.DenseReluDense.wi_0", "mlp.expand": "layer.1.DenseReluDense.wi_1"}


def _read_config(config: PreTrainedConfig, dtype: Precision) -> StackConfig:
    return StackConfig(
        family=config.model_type,
        layers=config.num_layers,
        residual_width=config.d_model,
        # The model itself has no limit; this is the length that it was trained with.
        longest_window=getattr(config, "n_positions", None) or _USUAL_WINDOW,
        embedding=EmbeddingConfig(vocabulary=config.vocab_size, width=config.d_model, norm=False),
        attention=AttentionConfig(
            heads=config.num_heads,
            head_width=config.d_kv,
            key_heads=config.num_heads,
            scale=1.0,
            input_bias=False,
            output_bias=False,
            buckets=RelativeBuckets(
                count=config.relative_attention_num_buckets, longest=config.relative_attention_max_distance
            ),
        ),
        mlp=MlpConfig(width=config.d_ff, activation=config.dense_act_fn, gated=config.is_gated_act, bias=False),
        norm=NormConfig(epsilon=config.layer_norm_epsilon, kind="rms"),
        arrangement="pre_norm",
        final_norm=True,
        initializer_range=config.initializer_factor * config.d_model**-0.5,
        dtype=dtype,
    )


def _sources(config: StackConfig) -> Sources:
    return {
        "embedding.pieces.embedding": Source("shared.weight", other_key="encoder.embed_tokens.weight"),
        **embedding("distance_bias", "encoder.block.0.layer.0.SelfAttention.relative_attention_bias"),
        **blocks(config, "encoder.block.{}", _ATTENTION | (_GATED if config.mlp.gated else _PLAIN)),
        **norm("final_norm", "encoder.final_layer_norm", bias=False),
    }


T5 = Family(
    read_config=_read_config,
    sources=_sources,
    head_sources=no_head,
    prefix="transformer.",
    ignored=r"(decoder|lm_head|classifier|qa_outputs)\..*",
)
"""`model_type` "t5" and "mt5": T5, T5 v1.1, Flan-T5, mT5."""
