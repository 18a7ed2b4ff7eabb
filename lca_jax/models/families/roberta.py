"""RoBERTa: BERT's blocks with one token type; positions begin after that of padding (Liu et al. 2019)."""

from lca_jax.hugging_face import PreTrainedConfig
from lca_jax.models.families.bert import encoder_sources, masked_head_sources, read_encoder_config
from lca_jax.models.families.mapping import Family, Sources
from lca_jax.models.stack.config import HeadConfig, Precision, StackConfig


def _read_config(config: PreTrainedConfig, dtype: Precision) -> StackConfig:
    # The models' own code fixes the head's non-linearity, whatever the blocks use.
    head = HeadConfig(transform="gelu", width=config.hidden_size, tied=config.tie_word_embeddings, bias=True)
    return read_encoder_config(config, dtype, first_position=config.pad_token_id + 1, head=head)


def _head_sources(_config: StackConfig, head: HeadConfig) -> Sources:
    return masked_head_sources(
        head, transform="lm_head.dense", norm_key="lm_head.layer_norm", decoder="lm_head.decoder", bias="lm_head.bias"
    )


ROBERTA = Family(
    read_config=_read_config,
    sources=encoder_sources,
    head_sources=_head_sources,
    prefix="roberta.",
    ignored=r"(pooler|lm_head|classifier|qa_outputs)\..*|embeddings\.position_ids",
)
"""`model_type` "roberta", "xlm-roberta" and "camembert"."""
