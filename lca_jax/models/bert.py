"""BERT: a post-norm encoder with learned absolute positions and token types (Devlin et al. 2019)."""

from transformers import PreTrainedConfig

from lca_jax.errors import ModelError
from lca_jax.models.config import Precision, StackConfig
from lca_jax.models.mapping import Family, Sources, embedding, linear, norm


def _read_config(config: PreTrainedConfig, dtype: Precision) -> StackConfig:
    positions = getattr(config, "position_embedding_type", None) or "absolute"
    if config.is_decoder or config.add_cross_attention or positions != "absolute":
        raise ModelError(
            "A BERT model must be an encoder with absolute positions, got "
            f"is_decoder={config.is_decoder}, add_cross_attention={config.add_cross_attention}, "
            f"position_embedding_type={positions!r}. Use another checkpoint."
        )
    return StackConfig(
        family="bert",
        vocabulary=config.vocab_size,
        positions=config.max_position_embeddings,
        token_types=config.type_vocab_size,
        layers=config.num_hidden_layers,
        heads=config.num_attention_heads,
        residual_width=config.hidden_size,
        mlp_width=config.intermediate_size,
        activation=config.hidden_act,
        norm_epsilon=config.layer_norm_eps,
        initializer_range=config.initializer_range,
        dtype=dtype,
    )


def _sources(config: StackConfig) -> Sources:
    sources = {
        **embedding("embedding.pieces", "embeddings.word_embeddings"),
        **embedding("embedding.positions", "embeddings.position_embeddings"),
        **embedding("embedding.token_types", "embeddings.token_type_embeddings"),
        **norm("embedding.norm", "embeddings.LayerNorm"),
    }
    for layer in range(config.layers):
        block, theirs = f"blocks.{layer}", f"encoder.layer.{layer}"
        sources |= {
            **linear(f"{block}.attention.query", f"{theirs}.attention.self.query"),
            **linear(f"{block}.attention.key", f"{theirs}.attention.self.key"),
            **linear(f"{block}.attention.value", f"{theirs}.attention.self.value"),
            **linear(f"{block}.attention.output", f"{theirs}.attention.output.dense"),
            **norm(f"{block}.attention_norm", f"{theirs}.attention.output.LayerNorm"),
            **linear(f"{block}.mlp.expand", f"{theirs}.intermediate.dense"),
            **linear(f"{block}.mlp.contract", f"{theirs}.output.dense"),
            **norm(f"{block}.mlp_norm", f"{theirs}.output.LayerNorm"),
        }
    return sources


BERT = Family(
    read_config=_read_config,
    sources=_sources,
    prefix="bert.",
    ignored=r"(pooler|cls|classifier|qa_outputs)\..*|embeddings\.position_ids",
)
"""`model_type` "bert": BERT, multilingual BERT, MiniLM, and the sentence encoders built on them."""
