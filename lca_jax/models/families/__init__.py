"""The families of checkpoints that can be loaded, by the `model_type` of their config.

A family never computes: the stack (`models.stack`) does, from the `StackConfig` that the family's file reads out of the
Hugging Face config. lca_jax/models/README.md says in five steps how to add one; `mpnet.py` is a short pattern,
`llama.py` that of a decoder.
"""

from lca_jax.errors import ModelError
from lca_jax.models.families.albert import ALBERT
from lca_jax.models.families.bart import BART, M2M100, MARIAN, MBART
from lca_jax.models.families.bert import BERT
from lca_jax.models.families.deberta_v2 import DEBERTA_V2
from lca_jax.models.families.distilbert import DISTILBERT
from lca_jax.models.families.electra import ELECTRA
from lca_jax.models.families.gemma2 import GEMMA2
from lca_jax.models.families.gpt2 import GPT2
from lca_jax.models.families.gpt_neox import GPT_NEOX
from lca_jax.models.families.llama import LLAMA, QWEN2, QWEN3
from lca_jax.models.families.mapping import Family
from lca_jax.models.families.modernbert import MODERNBERT
from lca_jax.models.families.mpnet import MPNET
from lca_jax.models.families.opt import OPT
from lca_jax.models.families.roberta import ROBERTA
from lca_jax.models.families.t5 import T5
from lca_jax.models.families.xlnet import XLNET

FAMILIES: dict[str, Family] = {
    "albert": ALBERT,
    "bart": BART,
    "bert": BERT,
    "camembert": ROBERTA,
    "deberta-v2": DEBERTA_V2,
    "distilbert": DISTILBERT,
    "electra": ELECTRA,
    "gemma2": GEMMA2,
    "gpt2": GPT2,
    "gpt_neox": GPT_NEOX,
    "llama": LLAMA,
    "m2m_100": M2M100,
    "marian": MARIAN,
    "mbart": MBART,
    "mistral": LLAMA,
    "modernbert": MODERNBERT,
    "mpnet": MPNET,
    "mt5": T5,
    "opt": OPT,
    "qwen2": QWEN2,
    "qwen3": QWEN3,
    "roberta": ROBERTA,
    "t5": T5,
    "xlm-roberta": ROBERTA,
    "xlnet": XLNET,
}


def find_family(model_type: str | None) -> Family:
    """Looks up a family.

    Raises:
        ModelError: It is not supported; the message lists the supported ones, and names the page on adding one.
    """
    if model_type not in FAMILIES:
        known = ", ".join(sorted(FAMILIES))
        raise ModelError(
            f"The model family {model_type!r} is not supported. Supported values of `model_type`: {known}. "
            "`lca_jax/models/README.md` says how to add one."
        )
    return FAMILIES[model_type]
