"""DeBERTa versions 2 and 3: BERT's blocks with disentangled attention (He et al. 2021; He, Gao and Chen 2021)."""

from dataclasses import replace

from lca_jax.errors import ModelError
from lca_jax.hugging_face import PreTrainedConfig
from lca_jax.models.families.bert import embedding_sources, read_encoder_config
from lca_jax.models.families.mapping import Family, Source, Sources, blocks, embedding, linear, norm
from lca_jax.models.stack.attention_config import Disentangled
from lca_jax.models.stack.config import EmbeddingConfig, HeadConfig, Precision, StackConfig

_BLOCK = {
    "attention.query": "attention.self.query_proj",
    "attention.key": "attention.self.key_proj",
    "attention.value": "attention.self.value_proj",
    "attention.output": "attention.output.dense",
    "attention_norm": "attention.output.LayerNorm",
    "mlp.expand": "intermediate.dense",
    "mlp.contract": "output.dense",
    "mlp_norm": "output.LayerNorm",
}


def _read_config(config: PreTrainedConfig, dtype: Precision) -> StackConfig:
    width = getattr(config, "embedding_size", config.hidden_size)
    plain = read_encoder_config(
        config,
        dtype,
        embedding=EmbeddingConfig(
            vocabulary=config.vocab_size,
            width=width,
            projected=width != config.hidden_size,
            project_first=width != config.hidden_size,
            positions=config.max_position_embeddings if config.position_biased_input else 0,
            token_types=config.type_vocab_size,
        ),
        # A head that is not `legacy` reads the embedding's table, whatever else a config says.
        head=HeadConfig(
            transform=config.hidden_act, width=width, tied=config.tie_word_embeddings or not config.legacy, bias=True
        ),
    )
    convolution = getattr(config, "conv_kernel_size", 0)
    head_width = getattr(config, "attention_head_size", plain.attention.head_width)
    terms = [term for term in ("c2p", "p2c") if term in (config.pos_att_type or ())]
    if convolution or head_width != plain.attention.head_width or (config.relative_attention and not terms):
        raise ModelError(
            "A DeBERTa model must have no convolution, heads that share the width of the hidden states, and relative "
            f"attention of type c2p, p2c or both, got conv_kernel_size={convolution}, attention_head_size={head_width} "
            f"with hidden_size={config.hidden_size} and num_attention_heads={config.num_attention_heads}, "
            f"pos_att_type={config.pos_att_type}. Use another checkpoint, e.g. not DeBERTa-v2 xlarge."
        )
    attention = replace(
        plain.attention,
        scale=(head_width * (1 + len(terms))) ** -0.5,
        relative=_read_relative(config, terms) if config.relative_attention else None,
    )
    return replace(plain, attention=attention)


def _read_relative(config: PreTrainedConfig, terms: list[str]) -> Disentangled:
    longest = getattr(config, "max_relative_positions", -1)
    longest = longest if longest > 0 else config.max_position_embeddings
    buckets = getattr(config, "position_buckets", -1)
    return Disentangled(
        span=buckets if buckets > 0 else longest,
        longest=longest if buckets > 0 else None,
        content_to_position="c2p" in terms,
        position_to_content="p2c" in terms,
        shared=getattr(config, "share_att_key", False),
        norm="layer_norm" in [part.strip() for part in getattr(config, "norm_rel_ebd", "none").lower().split("|")],
    )


def _sources(config: StackConfig) -> Sources:
    sources = embedding_sources(config) | blocks(config, "encoder.layer.{}", _BLOCK)
    if config.embedding.projected:
        sources |= linear("embedding.project", "embeddings.embed_proj", bias=False)
    relative = config.attention.relative
    if not isinstance(relative, Disentangled):
        return sources
    sources |= embedding("distances.vectors", "encoder.rel_embeddings")
    if relative.norm:
        sources |= norm("distances.norm", "encoder.LayerNorm")
    for number in range(0 if relative.shared else config.layers):
        path, key = f"blocks.{number}.attention.relative", f"encoder.layer.{number}.attention.self"
        if relative.content_to_position:
            sources |= linear(f"{path}.key", f"{key}.pos_key_proj")
        if relative.position_to_content:
            sources |= linear(f"{path}.query", f"{key}.pos_query_proj")
    return sources


def _head_sources(_config: StackConfig, head: HeadConfig) -> Sources:
    """Returns the sources of a head that has two names: one in `legacy` configs, one in others and in version 3."""
    legacy, other = "cls.predictions", "lm_predictions.lm_head"
    transform = linear("head.transform", "dense") | norm("head.norm", "LayerNorm")
    sources = {
        path: source._replace(key=f"{legacy}.transform.{source.key}", other_key=f"{other}.{source.key}")
        for path, source in transform.items()
    }
    if head.tied:
        return sources | {"head.bias": Source(f"{legacy}.bias", other_key=f"{other}.bias")}
    decoder = f"{legacy}.decoder"
    return sources | embedding("head.pieces", decoder) | {"head.bias": Source(f"{decoder}.bias")}


DEBERTA_V2 = Family(
    read_config=_read_config,
    sources=_sources,
    head_sources=_head_sources,
    prefix="deberta.",
    # Files of version 3 may hold a position table that the model does not read.
    ignored=r"(pooler|cls|lm_predictions|mask_predictions|classifier|qa_outputs)\..*"
    r"|embeddings\.position_(ids|embeddings\.weight)",
)
"""`model_type` "deberta-v2": DeBERTa-v2 except its xlarge sizes, DeBERTaV3, mDeBERTa."""
