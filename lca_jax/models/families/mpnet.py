"""MPNet: BERT's blocks, absolute positions, and a learned bias by distance in all layers (Song et al. 2020)."""

from dataclasses import replace

from lca_jax.errors import ModelError
from lca_jax.hugging_face import PreTrainedConfig
from lca_jax.models.families.bert import embedding_sources, masked_head_sources, read_encoder_config
from lca_jax.models.families.mapping import Family, Sources, blocks, embedding
from lca_jax.models.stack.attention_config import RelativeBuckets
from lca_jax.models.stack.config import HeadConfig, Precision, StackConfig

# Fixed in the model's own code, whatever a config says.
_BUCKETS = RelativeBuckets(count=32, longest=128)
_PADDING_POSITION = 1

_BLOCK = {
    "attention.query": "attention.attn.q",
    "attention.key": "attention.attn.k",
    "attention.value": "attention.attn.v",
    "attention.output": "attention.attn.o",
    "attention_norm": "attention.LayerNorm",
    "mlp.expand": "intermediate.dense",
    "mlp.contract": "output.dense",
    "mlp_norm": "output.LayerNorm",
}


def _read_config(config: PreTrainedConfig, dtype: Precision) -> StackConfig:
    if config.relative_attention_num_buckets != _BUCKETS.count:
        raise ModelError(
            f"An MPNet model must have {_BUCKETS.count} buckets of distance, got "
            f"relative_attention_num_buckets={config.relative_attention_num_buckets}. Use another checkpoint."
        )
    head = HeadConfig(transform="gelu", width=config.hidden_size, tied=config.tie_word_embeddings, bias=True)
    plain = read_encoder_config(config, dtype, first_position=_PADDING_POSITION + 1, head=head)
    # MPNet has no token types, also where its config counts some.
    return replace(
        plain,
        attention=replace(plain.attention, buckets=_BUCKETS),
        embedding=replace(plain.embedding, token_types=0),
    )


def _sources(config: StackConfig) -> Sources:
    return (
        embedding_sources(config)
        | embedding("distance_bias", "encoder.relative_attention_bias")
        | blocks(config, "encoder.layer.{}", _BLOCK)
    )


def _head_sources(_config: StackConfig, head: HeadConfig) -> Sources:
    return masked_head_sources(
        head, transform="lm_head.dense", norm_key="lm_head.layer_norm", decoder="lm_head.decoder", bias="lm_head.bias"
    )


MPNET = Family(
    read_config=_read_config,
    sources=_sources,
    head_sources=_head_sources,
    prefix="mpnet.",
    ignored=r"(pooler|lm_head|classifier|qa_outputs)\..*|embeddings\.position_ids",
)
"""`model_type` "mpnet": MPNet and the sentence encoders built on it."""
