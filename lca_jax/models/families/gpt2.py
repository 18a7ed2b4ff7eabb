"""GPT-2: a pre-norm decoder with learned positions and tied piece vectors (Radford et al. 2019)."""

from dataclasses import replace
from functools import partial

import numpy as np

from lca_jax.errors import ModelError
from lca_jax.hugging_face import PreTrainedConfig
from lca_jax.models.families.mapping import Family, Source, Sources, Tensor, causal_head, embedding, norm
from lca_jax.models.stack.attention_config import AttentionConfig, AttentionKind
from lca_jax.models.stack.config import EmbeddingConfig, HeadConfig, MlpConfig, NormConfig, Precision, StackConfig


def _read_config(config: PreTrainedConfig, dtype: Precision) -> StackConfig:
    if config.add_cross_attention:
        raise ModelError("A GPT-2 model must be a plain decoder, got add_cross_attention=True. Use another checkpoint.")
    attention = AttentionConfig.plain(width=config.n_embd, heads=config.n_head, causal=True)
    if not config.scale_attn_weights:
        attention = replace(attention, scale=1.0)
    if config.scale_attn_by_inverse_layer_idx:
        kinds = tuple(AttentionKind(factor=1 / number) for number in range(1, config.n_layer + 1))
        attention = replace(attention, kinds=kinds, kind_of_layer=tuple(range(config.n_layer)))
    return StackConfig(
        family=config.model_type,
        layers=config.n_layer,
        residual_width=config.n_embd,
        longest_window=config.n_positions,
        embedding=EmbeddingConfig(
            vocabulary=config.vocab_size, width=config.n_embd, positions=config.n_positions, norm=False
        ),
        attention=attention,
        mlp=MlpConfig(width=config.n_inner or 4 * config.n_embd, activation=config.activation_function),
        norm=NormConfig(epsilon=config.layer_norm_epsilon),
        arrangement="pre_norm",
        final_norm=True,
        head=HeadConfig(width=config.n_embd, tied=config.tie_word_embeddings, bias=False),
        initializer_range=config.initializer_range,
        dtype=dtype,
    )


def _sources(config: StackConfig) -> Sources:
    sources = {
        **embedding("embedding.pieces", "wte"),
        **embedding("embedding.positions", "wpe"),
        **norm("final_norm", "ln_f"),
    }
    for number in range(config.layers):
        block, key = f"blocks.{number}", f"h.{number}"
        for part, name in enumerate(("query", "key", "value")):
            sources |= _matrix(f"{block}.attention.{name}", f"{key}.attn.c_attn", part=part, parts=3)
        sources |= {
            **_matrix(f"{block}.attention.output", f"{key}.attn.c_proj"),
            **norm(f"{block}.attention_norm", f"{key}.ln_1"),
            **_matrix(f"{block}.mlp.expand", f"{key}.mlp.c_fc"),
            **_matrix(f"{block}.mlp.contract", f"{key}.mlp.c_proj"),
            **norm(f"{block}.mlp_norm", f"{key}.ln_2"),
        }
    return sources


def _matrix(path: str, key: str, *, part: int = 0, parts: int = 1) -> Sources:
    """Returns the sources of a matrix and its bias: GPT-2 stores matrices as (input, output), several side by side."""
    take = partial(_take_part, part=part, parts=parts)
    return {f"{path}.kernel": Source(f"{key}.weight", take), f"{path}.bias": Source(f"{key}.bias", take)}


def _take_part(tensor: Tensor, *, part: int, parts: int) -> Tensor:
    return np.split(tensor, parts, axis=-1)[part]


GPT2 = Family(
    read_config=_read_config,
    sources=_sources,
    head_sources=causal_head,
    prefix="transformer.",
    ignored=r"(lm_head|score|classifier|multiple_choice_head)\..*|h\.\d+\.attn\.(masked_)?bias",
)
"""`model_type` "gpt2": GPT-2, DistilGPT-2."""
