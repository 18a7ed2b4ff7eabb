"""BERT: a post-norm encoder with learned absolute positions and token types (Devlin et al. 2019).

RoBERTa and ELECTRA have the same blocks under the same names; their files build on this one.
"""

from typing import Any

from lca_jax.errors import ModelError
from lca_jax.hugging_face import PreTrainedConfig
from lca_jax.models.families.mapping import Family, Source, Sources, blocks, embedding, linear, norm
from lca_jax.models.stack.attention_config import AttentionConfig
from lca_jax.models.stack.config import EmbeddingConfig, HeadConfig, MlpConfig, NormConfig, Precision, StackConfig

_BLOCK = {
    "attention.query": "attention.self.query",
    "attention.key": "attention.self.key",
    "attention.value": "attention.self.value",
    "attention.output": "attention.output.dense",
    "attention_norm": "attention.output.LayerNorm",
    "mlp.expand": "intermediate.dense",
    "mlp.contract": "output.dense",
    "mlp_norm": "output.LayerNorm",
}


def read_encoder_config(
    config: PreTrainedConfig, dtype: Precision, *, first_position: int = 0, **changes: Any
) -> StackConfig:
    """Returns the stack of an encoder whose config has the keys of BERT's.

    Args:
        config: The Hugging Face config.
        dtype: Precision of the stack.
        first_position: Index of a window's first piece in the position table.
        changes: Fields of the `StackConfig` that differ from BERT's.

    Raises:
        ModelError: The model is a decoder, or its positions are not absolute.
    """
    positions = getattr(config, "position_embedding_type", None) or "absolute"
    is_decoder = getattr(config, "is_decoder", False)
    attends_to_encoder = getattr(config, "add_cross_attention", False)
    if is_decoder or attends_to_encoder or positions != "absolute":
        raise ModelError(
            f"A model of type {config.model_type!r} must be an encoder with absolute positions, got "
            f"is_decoder={is_decoder}, add_cross_attention={attends_to_encoder}, "
            f"position_embedding_type={positions!r}. Use another checkpoint."
        )
    fields: dict[str, Any] = {
        "family": config.model_type,
        "layers": config.num_hidden_layers,
        "residual_width": config.hidden_size,
        "longest_window": config.max_position_embeddings - first_position,
        "embedding": EmbeddingConfig(
            vocabulary=config.vocab_size,
            width=config.hidden_size,
            positions=config.max_position_embeddings,
            first_position=first_position,
            token_types=getattr(config, "type_vocab_size", 0),
        ),
        "attention": AttentionConfig.plain(width=config.hidden_size, heads=config.num_attention_heads),
        "mlp": MlpConfig(width=config.intermediate_size, activation=config.hidden_act),
        "norm": NormConfig(epsilon=config.layer_norm_eps),
        "arrangement": "post_norm",
        "head": HeadConfig(
            transform=config.hidden_act, width=config.hidden_size, tied=config.tie_word_embeddings, bias=True
        ),
        "initializer_range": config.initializer_range,
        "dtype": dtype,
    }
    return StackConfig(**fields | changes)


def embedding_sources(config: StackConfig) -> Sources:
    """Returns the sources of tables and norm, under `embeddings`."""
    positions = embedding("embedding.positions", "embeddings.position_embeddings")
    token_types = embedding("embedding.token_types", "embeddings.token_type_embeddings")
    return {
        **embedding("embedding.pieces", "embeddings.word_embeddings"),
        **(positions if config.embedding.positions else {}),
        **(token_types if config.embedding.token_types else {}),
        **norm("embedding.norm", "embeddings.LayerNorm"),
    }


def encoder_sources(config: StackConfig) -> Sources:
    """Returns the sources of embedding and blocks, with the names of BERT."""
    return embedding_sources(config) | blocks(config, "encoder.layer.{}", _BLOCK)


def masked_head_sources(head: HeadConfig, *, transform: str, norm_key: str, decoder: str, bias: str) -> Sources:
    """Returns the sources of the head of a masked language model.

    Args:
        head: The head's config.
        transform: Name of the matrix before the logits.
        norm_key: Name of the norm after that matrix.
        decoder: Name of the piece vectors, which are read unless they are tied.
        bias: Name of the pieces' bias in files that do not store it with the piece vectors.
    """
    return {
        **linear("head.transform", transform, bias=head.transform_bias),
        **norm("head.norm", norm_key),
        **({} if head.tied else embedding("head.pieces", decoder)),
        "head.bias": Source(f"{decoder}.bias", other_key=bias),
    }


def _head_sources(_config: StackConfig, head: HeadConfig) -> Sources:
    return masked_head_sources(
        head,
        transform="cls.predictions.transform.dense",
        norm_key="cls.predictions.transform.LayerNorm",
        decoder="cls.predictions.decoder",
        bias="cls.predictions.bias",
    )


BERT = Family(
    read_config=read_encoder_config,
    sources=encoder_sources,
    head_sources=_head_sources,
    prefix="bert.",
    ignored=r"(pooler|cls|classifier|qa_outputs)\..*|embeddings\.position_ids",
)
"""`model_type` "bert": BERT, multilingual BERT, MiniLM, and the sentence encoders built on them."""
