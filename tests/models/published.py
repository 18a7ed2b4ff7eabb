"""Configurations of published checkpoints, as their `config.json` has them, shrunk in width and depth alone.

Every key that says how a model computes stands here as it was published, also where later versions of transformers call
it by another name (`rotary_pct`, `rope_scaling`) or read it no more (`static_position_embeddings`).
"""

from typing import Any

from tests.tiny_models import Tiny

_BERT = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 40,
    "max_position_embeddings": 40,
    "hidden_act": "gelu",
    "layer_norm_eps": 1e-12,
    "type_vocab_size": 2,
    "position_embedding_type": "absolute",
}
_ROBERTA = _BERT | {"layer_norm_eps": 1e-5, "type_vocab_size": 1, "pad_token_id": 1, "bos_token_id": 0}
_DEBERTA = _BERT | {"layer_norm_eps": 1e-7, "type_vocab_size": 0, "relative_attention": True}
_V3 = {
    "position_buckets": 8,
    "norm_rel_ebd": "layer_norm",
    "share_att_key": True,
    "pos_att_type": "p2c|c2p",
    "max_relative_positions": -1,
    "position_biased_input": False,
    "pooler_hidden_act": "gelu",
}
_GPT2 = {
    "n_embd": 32,
    "n_layer": 3,
    "n_head": 4,
    "n_positions": 40,
    "n_ctx": 40,
    "activation_function": "gelu_new",
    "layer_norm_epsilon": 1e-5,
}
_NEOX = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 40,
    "max_position_embeddings": 64,
    "layer_norm_eps": 1e-5,
    "rotary_emb_base": 10000,
    "rotary_pct": 0.25,
    "use_parallel_residual": True,
    "tie_word_embeddings": False,
}
_OPT = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "ffn_dim": 40,
    "word_embed_proj_dim": 32,
    "max_position_embeddings": 40,
    "activation_function": "relu",
    "do_layer_norm_before": True,
    "pad_token_id": 1,
}
_LLAMA = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 4,
    "intermediate_size": 40,
    "max_position_embeddings": 64,
    "hidden_act": "silu",
    "rms_norm_eps": 1e-5,
    "rope_theta": 10000.0,
    "tie_word_embeddings": False,
}
_QWEN = _LLAMA | {"num_key_value_heads": 2, "rms_norm_eps": 1e-6, "rope_theta": 1000000.0, "num_hidden_layers": 3}
_T5 = {
    "d_model": 32,
    "d_kv": 8,
    "d_ff": 40,
    "num_layers": 2,
    "num_decoder_layers": 2,
    "num_heads": 4,
    "relative_attention_num_buckets": 32,
    "layer_norm_epsilon": 1e-6,
    "decoder_start_token_id": 0,
    "is_encoder_decoder": True,
}
_GATED = {"feed_forward_proj": "gated-gelu", "tie_word_embeddings": False}
_BART = {
    "d_model": 32,
    "encoder_layers": 2,
    "decoder_layers": 2,
    "encoder_attention_heads": 4,
    "decoder_attention_heads": 4,
    "encoder_ffn_dim": 40,
    "decoder_ffn_dim": 40,
    "max_position_embeddings": 40,
    "activation_function": "gelu",
    "is_encoder_decoder": True,
    "decoder_start_token_id": 2,
    "pad_token_id": 1,
}
_MARIAN = _BART | {
    "activation_function": "swish",
    "scale_embedding": True,
    "static_position_embeddings": True,
    "normalize_before": False,
    "normalize_embedding": False,
    "add_final_layer_norm": False,
    "add_bias_logits": False,
    "extra_pos_embeddings": 41,
    "pad_token_id": 41,
    "decoder_start_token_id": 41,
}
_SEQ2SEQ, _CAUSAL = "Seq2SeqLM", "CausalLM"


def _tiny(model_type: str, settings: dict[str, Any], head: str = "MaskedLM", **changes: Any) -> Tiny:
    return Tiny(model_type, settings | changes, head)


PUBLISHED: dict[str, Tiny] = {
    "google-bert/bert-base-multilingual-cased": _tiny("bert", _BERT, directionality="bidi", pooler_type="first_token"),
    "google/bert_uncased_L-2_H-128_A-2": _tiny("bert", _BERT, hidden_act="gelu"),
    "allenai/scibert_scivocab_uncased": _tiny("bert", {key: _BERT[key] for key in _BERT if key != "hidden_act"}),
    "nghuyong/ernie-2.0-base-en": _tiny("bert", _BERT, layer_norm_eps=1e-5, type_vocab_size=4),
    "a BERT with relu": _tiny("bert", _BERT, hidden_act="relu"),
    "FacebookAI/roberta-base": _tiny("roberta", _ROBERTA),
    "almanach/camembertv2-base": _tiny("roberta", _ROBERTA, pad_token_id=0, bos_token_id=1, layer_norm_eps=1e-7),
    "FacebookAI/xlm-roberta-base": _tiny("xlm-roberta", _ROBERTA, output_past=True),
    "almanach/camembert-base": _tiny("camembert", _ROBERTA, output_past=True),
    "google/electra-small-discriminator": _tiny("electra", _BERT, embedding_size=16, summary_type="first"),
    "google/electra-base-discriminator": _tiny("electra", _BERT, embedding_size=32),
    "albert/albert-base-v1": _tiny("albert", _BERT, embedding_size=16, inner_group_num=1, num_hidden_groups=1),
    "albert/albert-base-v2": _tiny(
        "albert",
        _BERT,
        embedding_size=16,
        hidden_act="gelu_new",
        inner_group_num=1,
        num_hidden_groups=1,
        down_scale_factor=1,
        gap_size=0,
        num_memory_blocks=0,
    ),
    "distilbert/distilbert-base-uncased": _tiny(
        "distilbert",
        {"dim": 32, "n_layers": 2, "n_heads": 4, "hidden_dim": 40, "max_position_embeddings": 40},
        activation="gelu",
        sinusoidal_pos_embds=False,
        tie_weights_=True,
    ),
    "sentence-transformers/all-mpnet-base-v2": _tiny(
        "mpnet", _BERT, layer_norm_eps=1e-5, relative_attention_num_buckets=32, pad_token_id=1
    ),
    "microsoft/deberta-v3-base": _tiny("deberta-v2", _DEBERTA | _V3),
    "microsoft/mdeberta-v3-base": _tiny("deberta-v2", _DEBERTA | _V3, pos_att_type=["p2c", "c2p"], legacy=True),
    "answerdotai/ModernBERT-base": _tiny(
        "modernbert",
        {key: _BERT[key] for key in ("hidden_size", "num_attention_heads", "intermediate_size")},
        num_hidden_layers=4,
        max_position_embeddings=64,
        hidden_activation="gelu",
        norm_eps=1e-5,
        norm_bias=False,
        attention_bias=False,
        mlp_bias=False,
        global_attn_every_n_layers=3,
        local_attention=8,
        global_rope_theta=160000.0,
        local_rope_theta=10000.0,
        decoder_bias=True,
        classifier_bias=False,
        classifier_activation="gelu",
        tie_word_embeddings=True,
    ),
    "xlnet/xlnet-base-cased": _tiny(
        "xlnet",
        {"d_model": 32, "n_layer": 2, "n_head": 4, "d_head": 8, "d_inner": 40},
        _CAUSAL,
        attn_type="bi",
        bi_data=False,
        clamp_len=-1,
        ff_activation="gelu",
        mem_len=None,
        reuse_len=None,
        same_length=False,
        untie_r=True,
        summary_type="last",
    ),
    "openai-community/gpt2": _tiny("gpt2", _GPT2, _CAUSAL, summary_type="cls_index"),
    "stanford-crfm/alias-gpt2-small-x21": _tiny(
        "gpt2", _GPT2, _CAUSAL, scale_attn_by_inverse_layer_idx=True, reorder_and_upcast_attn=True
    ),
    "cerebras/Cerebras-GPT-111M": _tiny(
        "gpt2", _GPT2, _CAUSAL, activation_function="gelu", n_inner=48, scale_attn_weights=True
    ),
    "a GPT-2 without scaling": _tiny("gpt2", _GPT2, _CAUSAL, scale_attn_weights=False),
    "EleutherAI/pythia-70m": _tiny("gpt_neox", _NEOX, _CAUSAL, hidden_act="gelu"),
    "EleutherAI/gpt-neox-20b": _tiny("gpt_neox", _NEOX, _CAUSAL, hidden_act="gelu_fast"),
    "togethercomputer/RedPajama-INCITE-Base-3B-v1": _tiny(
        "gpt_neox", _NEOX, _CAUSAL, hidden_act="gelu", rotary_pct=1.0, use_parallel_residual=False
    ),
    "facebook/opt-125m": _tiny("opt", _OPT, _CAUSAL),
    "facebook/galactica-125m": _tiny("opt", _OPT, _CAUSAL, activation_function="gelu", enable_bias=False),
    "TinyLlama/TinyLlama-1.1B-Chat-v1.0": _tiny("llama", _LLAMA, _CAUSAL, num_key_value_heads=1, pretraining_tp=1),
    "meta-llama/Llama-3.2-1B": _tiny(
        "llama",
        _LLAMA,
        _CAUSAL,
        num_key_value_heads=2,
        rope_theta=500000.0,
        tie_word_embeddings=True,
        head_dim=8,
        rope_scaling={
            "factor": 32.0,
            "low_freq_factor": 1.0,
            "high_freq_factor": 4.0,
            "original_max_position_embeddings": 32,
            "rope_type": "llama3",
        },
    ),
    "lmsys/vicuna-7b-v1.5-16k": _tiny("llama", _LLAMA, _CAUSAL, rope_scaling={"factor": 4.0, "type": "linear"}),
    "mistralai/Mistral-7B-v0.1": _tiny("mistral", _LLAMA, _CAUSAL, num_key_value_heads=2, sliding_window=6),
    "mistralai/Mistral-7B-v0.3": _tiny("mistral", _LLAMA, _CAUSAL, sliding_window=None, rope_theta=1000000.0),
    "Qwen/Qwen2.5-0.5B": _tiny(
        "qwen2",
        _QWEN,
        _CAUSAL,
        tie_word_embeddings=True,
        use_sliding_window=False,
        sliding_window=32,
        max_window_layers=3,
    ),
    "Qwen/Qwen3-0.6B": _tiny("qwen3", _QWEN, _CAUSAL, head_dim=16, attention_bias=False, tie_word_embeddings=True),
    "google/gemma-2-2b": _tiny(
        "gemma2",
        _QWEN,
        _CAUSAL,
        head_dim=16,
        hidden_act="gelu_pytorch_tanh",
        hidden_activation="gelu_pytorch_tanh",
        attn_logit_softcapping=50.0,
        final_logit_softcapping=30.0,
        query_pre_attn_scalar=16,
        sliding_window=6,
        rope_theta=10000.0,
        tie_word_embeddings=True,
    ),
    "google-t5/t5-small": _tiny("t5", _T5, _SEQ2SEQ, n_positions=512),
    "google/flan-t5-small": _tiny("t5", _T5 | _GATED, _SEQ2SEQ, num_heads=3, relative_attention_max_distance=128),
    "google/byt5-small": _tiny("t5", _T5 | _GATED, _SEQ2SEQ, num_layers=3, num_decoder_layers=1),
    "google/mt5-small": _tiny("mt5", _T5 | _GATED, _SEQ2SEQ),
    "facebook/bart-base": _tiny(
        "bart", _BART, _SEQ2SEQ, normalize_before=False, normalize_embedding=True, scale_embedding=False
    ),
    "facebook/mbart-large-50": _tiny("mbart", _BART, _SEQ2SEQ, activation_function="relu", scale_embedding=True),
    "Helsinki-NLP/opus-mt-en-de": _tiny("marian", _MARIAN, _SEQ2SEQ),
    "Helsinki-NLP/opus-mt-tc-big-en-pt": _tiny("marian", _MARIAN, _SEQ2SEQ, activation_function="relu"),
    "facebook/m2m100_418M": _tiny("m2m_100", _BART, _SEQ2SEQ, activation_function="relu", scale_embedding=True),
    "an NLLB with another padding piece": _tiny(
        "m2m_100", _BART, _SEQ2SEQ, activation_function="relu", scale_embedding=True, pad_token_id=0
    ),
}
"""Hub name to the shrunk configuration."""

REFUSED: dict[str, tuple[Tiny, str]] = {
    "microsoft/deberta-v2-xlarge": (
        _tiny("deberta-v2", _DEBERTA | _V3, conv_kernel_size=3, conv_act="gelu"),
        "conv_kernel_size=3",
    ),
    "facebook/opt-350m": (
        _tiny("opt", _OPT, _CAUSAL, word_embed_proj_dim=16, do_layer_norm_before=False),
        "word_embed_proj_dim=16",
    ),
    "an ALBERT with inner groups": (
        _tiny("albert", _BERT, embedding_size=16, inner_group_num=2),
        "inner_group_num=2",
    ),
}
"""Those with a switch that the stack does not have, and the words that name it."""
