"""T5 and mT5: pre-norm encoder-decoders whose only positions are a learned bias by distance (Raffel et al. 2020)."""

from collections.abc import Mapping
from typing import Any

from lca_jax.hugging_face import PreTrainedConfig
from lca_jax.models.families.mapping import Family, Source, Sources, blocks, embedding, norm
from lca_jax.models.stack.attention_config import AttentionConfig, RelativeBuckets
from lca_jax.models.stack.config import EmbeddingConfig, HeadConfig, MlpConfig, NormConfig, Precision, StackConfig

_USUAL_WINDOW = 512


def _name_attention(part: str, key: str) -> dict[str, str]:
    matrices = {"query": "q", "key": "k", "value": "v", "output": "o"}
    return {f"{part}.{matrix}": f"{key}.{letter}" for matrix, letter in matrices.items()}


def _name_mlp(part: str, *, gated: bool) -> dict[str, str]:
    expand = {"mlp.gate": "wi_0", "mlp.expand": "wi_1"} if gated else {"mlp.expand": "wi"}
    names = {module: f"{part}.DenseReluDense.{name}" for module, name in (expand | {"mlp.contract": "wo"}).items()}
    return names | {"mlp_norm": f"{part}.layer_norm"}


_SELF = _name_attention("attention", "layer.0.SelfAttention") | {"attention_norm": "layer.0.layer_norm"}
_CROSS = _name_attention("cross", "layer.1.EncDecAttention") | {"cross_norm": "layer.1.layer_norm"}


def _read_config(config: PreTrainedConfig, dtype: Precision) -> StackConfig:
    # Two kinds of models share a name in transformers: T5 scales its states and ties the head to the embedding; T5 v1.1
    # and mT5 do neither, whatever their `tie_word_embeddings` says.
    tied = getattr(config, "scale_decoder_outputs", False)
    head = HeadConfig(width=config.d_model, tied=tied, bias=False, scale=config.d_model**-0.5 if tied else 1.0)
    decoder = _read_side(config, dtype, layers=config.num_decoder_layers, causal=True, cross=True, head=head)
    return _read_side(config, dtype, layers=config.num_layers, causal=False, decoder=decoder)


def _read_side(config: PreTrainedConfig, dtype: Precision, *, causal: bool, **fields: Any) -> StackConfig:
    """Returns the stack of encoder or decoder; `fields` are those in which the two differ."""
    return StackConfig(
        family=config.model_type,
        residual_width=config.d_model,
        # The model itself sets no limit; this is the length that it was trained with.
        longest_window=getattr(config, "n_positions", None) or _USUAL_WINDOW,
        embedding=EmbeddingConfig(vocabulary=config.vocab_size, shared=causal, width=config.d_model, norm=False),
        attention=AttentionConfig(
            heads=config.num_heads,
            head_width=config.d_kv,
            key_heads=config.num_heads,
            scale=1.0,
            causal=causal,
            input_bias=False,
            output_bias=False,
            buckets=RelativeBuckets(
                count=config.relative_attention_num_buckets, longest=config.relative_attention_max_distance
            ),
        ),
        mlp=MlpConfig(width=config.d_ff, activation=config.dense_act_fn, gated=config.is_gated_act, bias=False),
        norm=NormConfig(epsilon=config.layer_norm_epsilon, kind="rms"),
        arrangement="pre_norm",
        final_norm=True,
        initializer_range=config.initializer_factor * config.d_model**-0.5,
        dtype=dtype,
        **fields,
    )


def _sources(config: StackConfig) -> Sources:
    pieces = {"embedding.pieces.embedding": Source("shared.weight", other_key="encoder.embed_tokens.weight")}
    encoder = _side_sources(config, "encoder", _SELF | _name_mlp("layer.1", gated=config.mlp.gated))
    if config.decoder is None:
        return pieces | encoder
    names = _SELF | _CROSS | _name_mlp("layer.2", gated=config.mlp.gated)
    return pieces | encoder | _side_sources(config.decoder, "decoder", names, inside="decoder.")


def _side_sources(config: StackConfig, side: str, names: Mapping[str, str], *, inside: str = "") -> Sources:
    bias = f"{side}.block.0.layer.0.SelfAttention.relative_attention_bias"
    return {
        **embedding(f"{inside}distance_bias", bias),
        **blocks(config, side + ".block.{}", names, inside=inside),
        **norm(f"{inside}final_norm", f"{side}.final_layer_norm", bias=False),
    }


def _head_sources(_config: StackConfig, head: HeadConfig) -> Sources:
    # A file that transformers 5 writes leaves out a head that equals the embedding.
    pieces = {"decoder.head.pieces.embedding": Source("lm_head.weight", other_key="shared.weight")}
    return {} if head.tied else pieces


T5 = Family(
    read_config=_read_config,
    sources=_sources,
    head_sources=_head_sources,
    prefix="transformer.",
    ignored=r"(lm_head|classifier|qa_outputs)\..*|decoder\.embed_tokens\.weight",
    decoder=r"decoder\..*",
)
"""`model_type` "t5" and "mt5": T5, T5 v1.1, Flan-T5, mT5."""
