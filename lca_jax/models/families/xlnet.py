"""XLNet: a post-norm encoder with relative sinusoids and no other positions (Yang et al. 2019).

Only the content stream is run, in which every piece sees all pieces of its window, itself included. The model returns
this stream when it is given no permutation, targets or memory. The logits of a slot come from that stream too.

XLNet's scores have a further term that tells pairs of pieces in one segment from pairs in two. Its tokenizer gives the
piece `<cls>` a segment of its own, and each text of a pair: the token types of the batch say which. Without token types
the term is the same for all pieces and cancels in the softmax, as in transformers where no `token_type_ids` are given.
"""

from lca_jax.errors import ModelError
from lca_jax.hugging_face import PreTrainedConfig
from lca_jax.models.families.mapping import Family, Source, Sources, Tensor, embedding, linear, norm
from lca_jax.models.stack.attention_config import AttentionConfig, RelativeSinusoids
from lca_jax.models.stack.config import EmbeddingConfig, HeadConfig, MlpConfig, NormConfig, Precision, StackConfig

_LONGEST_WINDOW = 512
"""Length of the texts that the models were trained on (Yang et al. 2019, section 3.1); they set no limit themselves."""


def _read_config(config: PreTrainedConfig, dtype: Precision) -> StackConfig:
    if config.attn_type != "bi" or config.bi_data:
        raise ModelError(
            "An XLNet model must see both ways and read a batch in one direction, got "
            f"attn_type={config.attn_type!r}, bi_data={config.bi_data}. Use another checkpoint."
        )
    return StackConfig(
        family=config.model_type,
        layers=config.n_layer,
        residual_width=config.d_model,
        longest_window=_LONGEST_WINDOW,
        embedding=EmbeddingConfig(vocabulary=config.vocab_size, width=config.d_model, norm=False),
        attention=AttentionConfig.plain(
            width=config.d_model,
            heads=config.n_head,
            input_bias=False,
            output_bias=False,
            relative=RelativeSinusoids(longest=config.clamp_len if config.clamp_len > 0 else None, segments=True),
        ),
        mlp=MlpConfig(width=config.d_inner, activation=config.ff_activation),
        norm=NormConfig(epsilon=config.layer_norm_eps),
        arrangement="post_norm",
        head=HeadConfig(width=config.d_model, tied=config.tie_word_embeddings, bias=True),
        initializer_range=config.initializer_range,
        dtype=dtype,
    )


def _sources(config: StackConfig) -> Sources:
    sources = embedding("embedding.pieces", "word_embedding")
    for number in range(config.layers):
        block, key = f"blocks.{number}", f"layer.{number}"
        attention, heads = f"{block}.attention", f"{key}.rel_attn"
        for matrix, letter in (("query", "q"), ("key", "k"), ("value", "v"), ("relative.key", "r")):
            sources[f"{attention}.{matrix}.kernel"] = Source(f"{heads}.{letter}", _join_heads)
        sources |= {
            f"{attention}.output.kernel": Source(f"{heads}.o", _join_heads_transposed),
            f"{attention}.relative.content_bias": Source(f"{heads}.r_w_bias"),
            f"{attention}.relative.distance_bias": Source(f"{heads}.r_r_bias"),
            **_segment_sources(config, f"{attention}.relative", heads),
            **norm(f"{block}.attention_norm", f"{heads}.layer_norm"),
            **linear(f"{block}.mlp.expand", f"{key}.ff.layer_1"),
            **linear(f"{block}.mlp.contract", f"{key}.ff.layer_2"),
            **norm(f"{block}.mlp_norm", f"{key}.ff.layer_norm"),
        }
    return sources


def _segment_sources(config: StackConfig, path: str, key: str) -> Sources:
    relative = config.attention.relative
    if not isinstance(relative, RelativeSinusoids) or not relative.segments:
        return {}
    return {f"{path}.segment_bias": Source(f"{key}.r_s_bias"), f"{path}.segments": Source(f"{key}.seg_embed")}


def _join_heads(tensor: Tensor) -> Tensor:
    """Joins the last two axes: XLNet stores matrices as (input, head, unit), also the one after the heads."""
    return tensor.reshape(len(tensor), -1)


def _join_heads_transposed(tensor: Tensor) -> Tensor:
    return _join_heads(tensor).T


def _head_sources(_config: StackConfig, head: HeadConfig) -> Sources:
    bias = {"head.bias": Source("lm_loss.bias")}
    return bias if head.tied else bias | embedding("head.pieces", "lm_loss")


XLNET = Family(
    read_config=_read_config,
    sources=_sources,
    head_sources=_head_sources,
    prefix="transformer.",
    ignored=r"(lm_loss|logits_proj|sequence_summary|classifier|qa_outputs|start_logits|end_logits|answer_class)\..*"
    r"|mask_emb|layer\.\d+\.rel_attn\.(r_s_bias|seg_embed)",
)
"""`model_type` "xlnet"."""
