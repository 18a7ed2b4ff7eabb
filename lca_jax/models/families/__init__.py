"""The families of checkpoints that can be loaded, by `model_type` of their config: a new one is a file and a row."""

from lca_jax.errors import ModelError
from lca_jax.models.families.albert import ALBERT
from lca_jax.models.families.bert import BERT
from lca_jax.models.families.deberta_v2 import DEBERTA_V2
from lca_jax.models.families.distilbert import DISTILBERT
from lca_jax.models.families.electra import ELECTRA
from lca_jax.models.families.gemma2 import GEMMA2
from lca_jax.models.families.gpt2 import GPT2
from lca_jax.models.families.gpt_neox import GPT_NEOX
from lca_jax.models.families.llama import LLAMA, QWEN2, QWEN3
from lca_jax.models.families.modernbert import MODERNBERT
from lca_jax.models.families.mpnet import MPNET
from lca_jax.models.families.opt import OPT
from lca_jax.models.families.roberta import ROBERTA
from lca_jax.models.families.xlnet import XLNET
from lca_jax.models.mapping import Family

FAMILIES: dict[str, Family] = {
    "albert": ALBERT,
    "bert": BERT,
    "camembert": ROBERTA,
    "deberta-v2": DEBERTA_V2,
    "distilbert": DISTILBERT,
    "electra": ELECTRA,
    "gemma2": GEMMA2,
    "gpt2": GPT2,
    "gpt_neox": GPT_NEOX,
    "llama": LLAMA,
    "mistral": LLAMA,
    "modernbert": MODERNBERT,
    "mpnet": MPNET,
    "opt": OPT,
    "qwen2": QWEN2,
    "qwen3": QWEN3,
    "roberta": ROBERTA,
    "xlm-roberta": ROBERTA,
    "xlnet": XLNET,
}


def find_family(model_type: str | None) -> Family:
    """Looks a family up.

    Raises:
        ModelError: It is not supported; the message lists those that are.
    """
    if model_type not in FAMILIES:
        known = ", ".join(sorted(FAMILIES))
        raise ModelError(f"No model family {model_type!r}. Supported values of `model_type`: {known}.")
    return FAMILIES[model_type]
