"""GPT-NeoX: attention and feed-forward part side by side, rotary positions in part of each head (Black et al. 2022)."""

from functools import partial

from lca_jax.hugging_face import PreTrainedConfig
from lca_jax.models.families.mapping import Family, Source, Sources, Tensor, blocks, embedding, norm
from lca_jax.models.families.rotary import read_rotary
from lca_jax.models.stack.attention_config import AttentionConfig, AttentionKind, split_evenly
from lca_jax.models.stack.config import EmbeddingConfig, HeadConfig, MlpConfig, NormConfig, Precision, StackConfig

_BLOCK = {
    "attention.output": "attention.dense",
    "attention_norm": "input_layernorm",
    "mlp.expand": "mlp.dense_h_to_4h",
    "mlp.contract": "mlp.dense_4h_to_h",
    "mlp_norm": "post_attention_layernorm",
}


def _read_config(config: PreTrainedConfig, dtype: Precision) -> StackConfig:
    head_width = split_evenly(config.hidden_size, config.num_attention_heads)
    rotary = read_rotary(config.rope_parameters, head_width=head_width)
    return StackConfig(
        family=config.model_type,
        layers=config.num_hidden_layers,
        residual_width=config.hidden_size,
        longest_window=config.max_position_embeddings,
        embedding=EmbeddingConfig(vocabulary=config.vocab_size, width=config.hidden_size, norm=False),
        attention=AttentionConfig.plain(
            width=config.hidden_size,
            heads=config.num_attention_heads,
            causal=True,
            input_bias=config.attention_bias,
            output_bias=config.attention_bias,
            kinds=(AttentionKind(rotary=rotary),),
        ),
        mlp=MlpConfig(width=config.intermediate_size, activation=config.hidden_act),
        norm=NormConfig(epsilon=config.layer_norm_eps),
        arrangement="parallel" if config.use_parallel_residual else "pre_norm",
        final_norm=True,
        head=HeadConfig(width=config.hidden_size, tied=config.tie_word_embeddings, bias=False),
        initializer_range=config.initializer_range,
        dtype=dtype,
    )


def _sources(config: StackConfig) -> Sources:
    sources = {
        **embedding("embedding.pieces", "embed_in"),
        **blocks(config, "layers.{}", _BLOCK),
        **norm("final_norm", "final_layer_norm"),
    }
    for number in range(config.layers):
        key = f"layers.{number}.attention.query_key_value"
        for part, name in enumerate(("query", "key", "value")):
            path = f"blocks.{number}.attention.{name}"
            take = partial(_take_of_heads, part=part, heads=config.attention.heads)
            sources[f"{path}.kernel"] = Source(f"{key}.weight", take)
            if config.attention.input_bias:
                sources[f"{path}.bias"] = Source(f"{key}.bias", take)
    return sources


def _take_of_heads(tensor: Tensor, *, part: int, heads: int) -> Tensor:
    """Returns query, key or value of all heads: the checkpoint stores the three of a head together, head after head."""
    by_head = tensor.reshape(heads, 3, -1, *tensor.shape[1:])[:, part]
    return by_head.reshape(-1, *tensor.shape[1:]).T


def _head_sources(_config: StackConfig, head: HeadConfig) -> Sources:
    return {} if head.tied else {"head.pieces.embedding": Source("embed_out.weight", other_key="lm_head.weight")}


GPT_NEOX = Family(
    read_config=_read_config,
    sources=_sources,
    head_sources=_head_sources,
    prefix="gpt_neox.",
    ignored=r"(embed_out|lm_head|score|classifier|qa_outputs)\..*"
    r"|layers\.\d+\.attention\.(bias|masked_bias|rotary_emb\.inv_freq)",
)
"""`model_type` "gpt_neox": GPT-NeoX and Pythia."""
