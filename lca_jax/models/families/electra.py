"""ELECTRA: BERT's blocks after an embedding that may be narrower than they are (Clark et al. 2020)."""

from lca_jax.hugging_face import PreTrainedConfig
from lca_jax.models.families.bert import encoder_sources, masked_head_sources, read_encoder_config
from lca_jax.models.families.mapping import Family, Sources, linear
from lca_jax.models.stack.config import EmbeddingConfig, HeadConfig, Precision, StackConfig


def _read_config(config: PreTrainedConfig, dtype: Precision) -> StackConfig:
    return read_encoder_config(
        config,
        dtype,
        embedding=EmbeddingConfig(
            vocabulary=config.vocab_size,
            width=config.embedding_size,
            projected=config.embedding_size != config.hidden_size,
            positions=config.max_position_embeddings,
            token_types=config.type_vocab_size,
        ),
        head=HeadConfig(transform="gelu", width=config.embedding_size, tied=config.tie_word_embeddings, bias=True),
    )


def _sources(config: StackConfig) -> Sources:
    projection = linear("embedding.project", "embeddings_project") if config.embedding.projected else {}
    return encoder_sources(config) | projection


def _head_sources(_config: StackConfig, head: HeadConfig) -> Sources:
    return masked_head_sources(
        head,
        transform="generator_predictions.dense",
        norm_key="generator_predictions.LayerNorm",
        decoder="generator_lm_head",
        bias="generator_lm_head.bias",
    )


ELECTRA = Family(
    read_config=_read_config,
    sources=_sources,
    head_sources=_head_sources,
    prefix="electra.",
    ignored=r"(discriminator_predictions|generator_predictions|generator_lm_head|classifier|qa_outputs)\..*"
    r"|embeddings\.position_ids",
)
"""`model_type` "electra": generators, which have a head, and discriminators."""
