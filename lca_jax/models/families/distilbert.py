"""DistilBERT: half of BERT's blocks, without token types, under other names (Sanh et al. 2019)."""

from lca_jax.hugging_face import PreTrainedConfig
from lca_jax.models.families.bert import masked_head_sources
from lca_jax.models.families.mapping import Family, Sources, blocks, embedding, norm
from lca_jax.models.stack.attention_config import AttentionConfig
from lca_jax.models.stack.config import EmbeddingConfig, HeadConfig, MlpConfig, NormConfig, Precision, StackConfig

_BLOCK = {
    "attention.query": "attention.q_lin",
    "attention.key": "attention.k_lin",
    "attention.value": "attention.v_lin",
    "attention.output": "attention.out_lin",
    "attention_norm": "sa_layer_norm",
    "mlp.expand": "ffn.lin1",
    "mlp.contract": "ffn.lin2",
    "mlp_norm": "output_layer_norm",
}


def _read_config(config: PreTrainedConfig, dtype: Precision) -> StackConfig:
    return StackConfig(
        family=config.model_type,
        layers=config.n_layers,
        residual_width=config.dim,
        longest_window=config.max_position_embeddings,
        embedding=EmbeddingConfig(
            vocabulary=config.vocab_size, width=config.dim, positions=config.max_position_embeddings
        ),
        attention=AttentionConfig.plain(width=config.dim, heads=config.n_heads),
        mlp=MlpConfig(width=config.hidden_dim, activation=config.activation),
        norm=NormConfig(epsilon=1e-12),
        arrangement="post_norm",
        head=HeadConfig(transform=config.activation, width=config.dim, tied=config.tie_word_embeddings, bias=True),
        initializer_range=config.initializer_range,
        dtype=dtype,
    )


def _sources(config: StackConfig) -> Sources:
    return {
        **embedding("embedding.pieces", "embeddings.word_embeddings"),
        **embedding("embedding.positions", "embeddings.position_embeddings"),
        **norm("embedding.norm", "embeddings.LayerNorm"),
        **blocks(config, "transformer.layer.{}", _BLOCK),
    }


def _head_sources(_config: StackConfig, head: HeadConfig) -> Sources:
    return masked_head_sources(
        head,
        transform="vocab_transform",
        norm_key="vocab_layer_norm",
        decoder="vocab_projector",
        bias="vocab_projector.bias",
    )


DISTILBERT = Family(
    read_config=_read_config,
    sources=_sources,
    head_sources=_head_sources,
    prefix="distilbert.",
    ignored=r"(vocab_transform|vocab_layer_norm|vocab_projector|pre_classifier|classifier|qa_outputs)\..*"
    r"|embeddings\.position_ids",
)
"""`model_type` "distilbert"."""
