"""Tiny random models of every family, made and written by PyTorch's `transformers`, and their tokenizer.

Every model is a task model, so that its head is there too; weights are large enough for every part to matter.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

VOCABULARY = 48


class Tiny(NamedTuple):
    """One config to test."""

    model_type: str
    changes: Mapping[str, Any] = {}
    head: str = "MaskedLM"


_BERT = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 40,
    "max_position_embeddings": 26,
}
_DEBERTA = _BERT | {"relative_attention": True, "pos_att_type": "p2c|c2p"}
_XLNET = {"d_model": 32, "n_layer": 2, "n_head": 4, "d_inner": 40}
_LLAMA = _BERT | {"num_key_value_heads": 2, "max_position_embeddings": 64}
_QWEN = _LLAMA | {"num_hidden_layers": 3}
_T5 = {
    "d_model": 32,
    "d_kv": 8,
    "d_ff": 40,
    "num_layers": 2,
    "num_heads": 4,
    "relative_attention_num_buckets": 12,
    "relative_attention_max_distance": 16,
    "decoder_start_token_id": 0,
}
_BART = {
    "d_model": 32,
    "encoder_layers": 2,
    "decoder_layers": 2,
    "encoder_attention_heads": 4,
    "decoder_attention_heads": 4,
    "encoder_ffn_dim": 40,
    "decoder_ffn_dim": 40,
    "max_position_embeddings": 26,
    "decoder_start_token_id": 2,
}
_CAUSAL = "CausalLM"
_SEQ2SEQ = "Seq2SeqLM"
_ROTARY = {"rope_type": "default", "rope_theta": 10_000.0}

TINY: dict[str, Tiny] = {
    "bert": Tiny("bert", _BERT),
    "bert untied": Tiny("bert", _BERT | {"tie_word_embeddings": False, "hidden_act": "gelu_new"}),
    "roberta": Tiny("roberta", _BERT | {"type_vocab_size": 1, "pad_token_id": 1}),
    "xlm-roberta": Tiny("xlm-roberta", _BERT | {"type_vocab_size": 1, "pad_token_id": 1}),
    "camembert": Tiny("camembert", _BERT | {"type_vocab_size": 1, "pad_token_id": 1}),
    "electra, narrow embedding": Tiny("electra", _BERT | {"embedding_size": 16}),
    "electra, full embedding": Tiny("electra", _BERT | {"embedding_size": 32}),
    "albert, one shared block": Tiny("albert", _BERT | {"embedding_size": 16, "num_hidden_layers": 3}),
    "albert, two groups": Tiny(
        "albert", _BERT | {"embedding_size": 16, "num_hidden_layers": 4, "num_hidden_groups": 2}
    ),
    "distilbert": Tiny(
        "distilbert", {"dim": 32, "n_layers": 2, "n_heads": 4, "hidden_dim": 40, "max_position_embeddings": 26}
    ),
    "mpnet": Tiny("mpnet", _BERT | {"pad_token_id": 1}),
    "deberta-v2, as version 3": Tiny(
        "deberta-v2",
        _DEBERTA
        | {
            "position_buckets": 4,
            "share_att_key": True,
            "norm_rel_ebd": "layer_norm",
            "position_biased_input": False,
            "legacy": False,
        },
    ),
    "deberta-v2, own matrices, plain distances": Tiny(
        "deberta-v2", _DEBERTA | {"max_relative_positions": 9, "type_vocab_size": 2, "embedding_size": 16}
    ),
    "deberta-v2, content to position": Tiny(
        "deberta-v2", _DEBERTA | {"pos_att_type": "c2p", "position_buckets": 8, "tie_word_embeddings": False}
    ),
    "deberta-v2, position to content": Tiny(
        "deberta-v2",
        _DEBERTA | {"pos_att_type": ["p2c"], "share_att_key": True, "position_buckets": 12, "norm_rel_ebd": "none"},
    ),
    "deberta-v2, no relative attention": Tiny("deberta-v2", _BERT | {"pos_att_type": ["c2p"]}),
    "modernbert": Tiny(
        "modernbert",
        _BERT | {"num_hidden_layers": 4, "local_attention": 6, "global_attn_every_n_layers": 3},
    ),
    "modernbert with biases": Tiny(
        "modernbert",
        _BERT
        | {
            "num_hidden_layers": 2,
            "local_attention": 4,
            "norm_bias": True,
            "attention_bias": True,
            "mlp_bias": True,
            "classifier_bias": True,
            "tie_word_embeddings": False,
        },
    ),
    "t5": Tiny("t5", _T5, _SEQ2SEQ),
    "t5, gated": Tiny("t5", _T5 | {"feed_forward_proj": "gated-gelu", "num_heads": 3}, _SEQ2SEQ),
    "t5, version 1.1": Tiny("t5", _T5 | {"num_decoder_layers": 3, "tie_word_embeddings": False}, _SEQ2SEQ),
    "mt5": Tiny("mt5", _T5, _SEQ2SEQ),
    "bart": Tiny("bart", _BART, _SEQ2SEQ),
    "bart, scaled embedding": Tiny("bart", _BART | {"scale_embedding": True}, _SEQ2SEQ),
    "mbart": Tiny("mbart", _BART, _SEQ2SEQ),
    "marian": Tiny("marian", _BART | {"scale_embedding": True}, _SEQ2SEQ),
    "marian, two vocabularies": Tiny(
        "marian", _BART | {"share_encoder_decoder_embeddings": False, "decoder_vocab_size": 60}, _SEQ2SEQ
    ),
    "m2m_100": Tiny("m2m_100", _BART | {"pad_token_id": 1}, _SEQ2SEQ),
    "xlnet": Tiny("xlnet", _XLNET, _CAUSAL),
    "xlnet, far distances alike, untied": Tiny(
        "xlnet", _XLNET | {"clamp_len": 4, "ff_activation": "relu", "tie_word_embeddings": False}, _CAUSAL
    ),
    "gpt2": Tiny("gpt2", {"n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 26}, _CAUSAL),
    "gpt_neox, parallel": Tiny(
        "gpt_neox", _BERT | {"rope_parameters": _ROTARY | {"partial_rotary_factor": 0.5}}, _CAUSAL
    ),
    "gpt_neox, one after the other": Tiny(
        "gpt_neox", _BERT | {"use_parallel_residual": False, "tie_word_embeddings": True}, _CAUSAL
    ),
    "opt": Tiny("opt", _BERT | {"ffn_dim": 40, "word_embed_proj_dim": 32}, _CAUSAL),
    "opt, norms after": Tiny(
        "opt", _BERT | {"ffn_dim": 40, "word_embed_proj_dim": 32, "do_layer_norm_before": False}, _CAUSAL
    ),
    "llama, grouped queries": Tiny("llama", _LLAMA, _CAUSAL),
    "llama, stretched, tied, biased": Tiny(
        "llama",
        _LLAMA
        | {
            "tie_word_embeddings": True,
            "attention_bias": True,
            "mlp_bias": True,
            "head_dim": 16,
            "rope_parameters": {
                "rope_type": "llama3",
                "rope_theta": 500.0,
                "factor": 4.0,
                "low_freq_factor": 1.0,
                "high_freq_factor": 4.0,
                "original_max_position_embeddings": 32,
            },
        },
        _CAUSAL,
    ),
    "llama, linear positions": Tiny(
        "llama", _LLAMA | {"rope_parameters": {"rope_type": "linear", "rope_theta": 100.0, "factor": 2.0}}, _CAUSAL
    ),
    "mistral, sliding window": Tiny("mistral", _LLAMA | {"sliding_window": 4}, _CAUSAL),
    "mistral, no window": Tiny("mistral", _LLAMA | {"sliding_window": None}, _CAUSAL),
    "qwen2": Tiny("qwen2", _QWEN, _CAUSAL),
    "qwen2, some layers slide": Tiny(
        "qwen2", _QWEN | {"use_sliding_window": True, "sliding_window": 3, "max_window_layers": 1}, _CAUSAL
    ),
    "qwen3": Tiny("qwen3", _QWEN | {"head_dim": 16, "tie_word_embeddings": True}, _CAUSAL),
    "gemma2": Tiny("gemma2", _QWEN | {"head_dim": 16, "sliding_window": 4, "query_pre_attn_scalar": 24}, _CAUSAL),
}


def write_model(folder: Path, tiny: Tiny, *, seed: int = 0) -> Any:
    """Writes config, weights and tokenizer as `save_pretrained` does, and returns the PyTorch model."""
    import torch
    import transformers
    from tokenizers import Tokenizer, models, pre_tokenizers

    config = transformers.AutoConfig.for_model(
        tiny.model_type,
        **{"vocab_size": VOCABULARY, "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2, **tiny.changes},
    )
    torch.manual_seed(seed)
    build = getattr(transformers, f"AutoModelFor{tiny.head}").from_config
    model = build(config, attn_implementation="eager").float().eval()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if not parameter.requires_grad:  # sines and cosines of positions
                continue
            is_scale = "norm" in name.lower() or "ln_" in name
            mean = 1.0 if is_scale and name.endswith("weight") and tiny.model_type != "gemma2" else 0.0
            parameter.copy_(mean + 0.15 * torch.randn_like(parameter))
    model.save_pretrained(folder)
    backend = Tokenizer(models.WordLevel({f"w{number}": number for number in range(VOCABULARY - 8)}, unk_token="w3"))
    backend.pre_tokenizer = pre_tokenizers.Whitespace()
    transformers.PreTrainedTokenizerFast(tokenizer_object=backend, unk_token="w3").save_pretrained(folder)
    return model
