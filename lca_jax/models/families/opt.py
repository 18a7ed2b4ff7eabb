"""OPT: a pre-norm decoder with learned positions, the first two of which belong to padding (Zhang et al. 2022)."""

from lca_jax.errors import ModelError
from lca_jax.hugging_face import PreTrainedConfig
from lca_jax.models.families.mapping import Family, Sources, blocks, causal_head, embedding, norm
from lca_jax.models.stack.attention_config import AttentionConfig
from lca_jax.models.stack.config import EmbeddingConfig, HeadConfig, MlpConfig, NormConfig, Precision, StackConfig

_PADDING_POSITIONS = 2
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


def _read_config(config: PreTrainedConfig, dtype: Precision) -> StackConfig:
    if config.word_embed_proj_dim != config.hidden_size or not config.layer_norm_elementwise_affine:
        raise ModelError(
            "An OPT model must embed pieces at the width of its hidden states and have norms with scale and bias, got "
            f"word_embed_proj_dim={config.word_embed_proj_dim} with hidden_size={config.hidden_size}, "
            f"layer_norm_elementwise_affine={config.layer_norm_elementwise_affine}. Use another size than 350m."
        )
    return StackConfig(
        family=config.model_type,
        layers=config.num_hidden_layers,
        residual_width=config.hidden_size,
        longest_window=config.max_position_embeddings,
        embedding=EmbeddingConfig(
            vocabulary=config.vocab_size,
            width=config.hidden_size,
            positions=config.max_position_embeddings + _PADDING_POSITIONS,
            first_position=_PADDING_POSITIONS,
            norm=False,
        ),
        attention=AttentionConfig.plain(
            width=config.hidden_size,
            heads=config.num_attention_heads,
            causal=True,
            input_bias=config.enable_bias,
            output_bias=config.enable_bias,
        ),
        mlp=MlpConfig(width=config.ffn_dim, activation=config.activation_function, bias=config.enable_bias),
        norm=NormConfig(epsilon=1e-5),
        arrangement="pre_norm" if config.do_layer_norm_before else "post_norm",
        final_norm=config.do_layer_norm_before and not config._remove_final_layer_norm,
        head=HeadConfig(width=config.hidden_size, tied=config.tie_word_embeddings, bias=False),
        initializer_range=config.init_std,
        dtype=dtype,
    )


def _sources(config: StackConfig) -> Sources:
    return {
        **embedding("embedding.pieces", "decoder.embed_tokens"),
        **embedding("embedding.positions", "decoder.embed_positions"),
        **blocks(config, "decoder.layers.{}", _BLOCK),
        **(norm("final_norm", "decoder.final_layer_norm") if config.final_norm else {}),
    }


OPT = Family(
    read_config=_read_config,
    sources=_sources,
    head_sources=causal_head,
    prefix="model.",
    ignored=r"(lm_head|score|classifier|qa_outputs)\..*",
)
"""`model_type` "opt"."""
