"""ALBERT: a narrow embedding, and blocks that many layers share (Lan et al. 2020)."""

from lca_jax.errors import ModelError
from lca_jax.hugging_face import PreTrainedConfig
from lca_jax.models.families.bert import embedding_sources, masked_head_sources, read_encoder_config
from lca_jax.models.families.mapping import Family, Sources, blocks, linear
from lca_jax.models.stack.config import EmbeddingConfig, HeadConfig, Precision, StackConfig

_BLOCK = {
    "attention.query": "attention.query",
    "attention.key": "attention.key",
    "attention.value": "attention.value",
    "attention.output": "attention.dense",
    "attention_norm": "attention.LayerNorm",
    "mlp.expand": "ffn",
    "mlp.contract": "ffn_output",
    "mlp_norm": "full_layer_layer_norm",
}


def _read_config(config: PreTrainedConfig, dtype: Precision) -> StackConfig:
    if config.inner_group_num != 1:
        raise ModelError(
            f"An ALBERT group must be one block, got inner_group_num={config.inner_group_num}. Use another checkpoint."
        )
    layers, groups = config.num_hidden_layers, config.num_hidden_groups
    return read_encoder_config(
        config,
        dtype,
        embedding=EmbeddingConfig(
            vocabulary=config.vocab_size,
            width=config.embedding_size,
            projected=True,
            positions=config.max_position_embeddings,
            token_types=config.type_vocab_size,
        ),
        block_of_layer=tuple(int(layer / (layers / groups)) for layer in range(layers)),
        head=HeadConfig(
            transform=config.hidden_act, width=config.embedding_size, tied=config.tie_word_embeddings, bias=True
        ),
    )


def _sources(config: StackConfig) -> Sources:
    return (
        embedding_sources(config)
        | linear("embedding.project", "encoder.embedding_hidden_mapping_in")
        | blocks(config, "encoder.albert_layer_groups.{}.albert_layers.0", _BLOCK)
    )


def _head_sources(_config: StackConfig, head: HeadConfig) -> Sources:
    return masked_head_sources(
        head,
        transform="predictions.dense",
        norm_key="predictions.LayerNorm",
        decoder="predictions.decoder",
        bias="predictions.bias",
    )


ALBERT = Family(
    read_config=_read_config,
    sources=_sources,
    head_sources=_head_sources,
    prefix="albert.",
    ignored=r"(pooler|predictions|sop_classifier|classifier|qa_outputs)\..*|embeddings\.position_ids",
)
"""`model_type` "albert"."""
