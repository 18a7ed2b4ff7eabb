"""ModernBERT: a pre-norm encoder with rotary positions, gated units and windows of attention (Warner et al. 2024)."""

from functools import partial

import numpy as np

from lca_jax.hugging_face import PreTrainedConfig
from lca_jax.models.families.bert import masked_head_sources
from lca_jax.models.families.mapping import Family, Source, Sources, Tensor, blocks, embedding, norm
from lca_jax.models.families.rotary import read_rotary
from lca_jax.models.stack.attention_config import AttentionConfig, AttentionKind, split_evenly
from lca_jax.models.stack.config import EmbeddingConfig, HeadConfig, MlpConfig, NormConfig, Precision, StackConfig

_BLOCK = {"attention.output": "attn.Wo", "mlp.contract": "mlp.Wo", "mlp_norm": "mlp_norm"}


def _read_config(config: PreTrainedConfig, dtype: Precision) -> StackConfig:
    head_width = split_evenly(config.hidden_size, config.num_attention_heads)
    types = sorted(set(config.layer_types))
    reach = {"full_attention": None, "sliding_attention": config.local_attention // 2}
    kinds = tuple(
        AttentionKind(reach=reach[kind], rotary=read_rotary(config.rope_parameters[kind], head_width=head_width))
        for kind in types
    )
    return StackConfig(
        family=config.model_type,
        layers=config.num_hidden_layers,
        residual_width=config.hidden_size,
        longest_window=config.max_position_embeddings,
        embedding=EmbeddingConfig(vocabulary=config.vocab_size, width=config.hidden_size),
        attention=AttentionConfig.plain(
            width=config.hidden_size,
            heads=config.num_attention_heads,
            input_bias=config.attention_bias,
            output_bias=config.attention_bias,
            kinds=kinds,
            kind_of_layer=tuple(types.index(kind) for kind in config.layer_types),
        ),
        mlp=MlpConfig(
            width=config.intermediate_size, activation=config.hidden_activation, gated=True, bias=config.mlp_bias
        ),
        norm=NormConfig(epsilon=config.norm_eps, bias=config.norm_bias),
        arrangement="pre_norm",
        final_norm=True,
        first_attention_norm=False,
        head=HeadConfig(
            transform=config.classifier_activation,
            transform_bias=config.classifier_bias,
            width=config.hidden_size,
            tied=config.tie_word_embeddings,
            bias=config.decoder_bias,
        ),
        initializer_range=config.initializer_range,
        dtype=dtype,
    )


def _sources(config: StackConfig) -> Sources:
    bias = config.norm.bias
    sources = {
        **embedding("embedding.pieces", "embeddings.tok_embeddings"),
        **norm("embedding.norm", "embeddings.norm", bias=bias),
        **blocks(config, "layers.{}", _BLOCK),
        **norm("final_norm", "final_norm", bias=bias),
    }
    for number in range(config.layers):
        block, key = f"blocks.{number}", f"layers.{number}"
        if number:  # the first block reads states that the embedding has normalised
            sources |= norm(f"{block}.attention_norm", f"{key}.attn_norm", bias=bias)
        for part, name in enumerate(("query", "key", "value")):
            path = f"{block}.attention.{name}"
            sources |= _part(path, f"{key}.attn.Wqkv", part=part, parts=3, bias=config.attention.input_bias)
        for part, name in enumerate(("gate", "expand")):
            sources |= _part(f"{block}.mlp.{name}", f"{key}.mlp.Wi", part=part, parts=2, bias=config.mlp.bias)
    return sources


def _part(path: str, key: str, *, part: int, parts: int, bias: bool) -> Sources:
    """Returns the sources of one of several matrices that the checkpoint stores as one, stacked by their outputs."""
    take = partial(_take_part, part=part, parts=parts)
    matrix = {f"{path}.kernel": Source(f"{key}.weight", take)}
    return matrix | ({f"{path}.bias": Source(f"{key}.bias", take)} if bias else {})


def _take_part(tensor: Tensor, *, part: int, parts: int) -> Tensor:
    return np.split(tensor, parts)[part].T


def _head_sources(config: StackConfig, head: HeadConfig) -> Sources:
    sources = masked_head_sources(
        head, transform="head.dense", norm_key="head.norm", decoder="decoder", bias="decoder.bias"
    )
    absent = [] if config.norm.bias else ["head.norm.bias"]
    absent += [] if head.bias else ["head.bias"]
    return {path: source for path, source in sources.items() if path not in absent}


MODERNBERT = Family(
    read_config=_read_config,
    sources=_sources,
    head_sources=_head_sources,
    prefix="model.",
    ignored=r"(head|decoder|classifier|score|qa_outputs)\..*",
)
"""`model_type` "modernbert"."""
