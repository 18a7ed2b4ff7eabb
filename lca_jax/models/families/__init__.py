"""The families of checkpoints that can be loaded, by `model_type` of their config: a new one is a file and three rows.

A family never computes: the stack (`models.stack`) does, from the `StackConfig` that the family's file reads out of the
Hugging Face config. To add one, five steps, each ending in a test; `mpnet.py` is a short pattern, `llama.py` that of a
decoder.

1. Config. In a new file NAME.py `_read_config(config, dtype)` returns the `StackConfig`. Build on `read_encoder_config`
   (bert) or `read_decoder_config` (llama) where the config has their keys. Raise `ModelError` for every variant that
   the stack has not, with key and value: what loads must be right. A part that no other family has goes into the stack,
   as a field of its config whose default changes nothing.
   Test: for every variant refused a row in `test_configs_that_cannot_be_loaded` of tests/models/test_model.py.
2. Names. In the same file `_BLOCK`, the table from the modules of `Block` to their names in the checkpoint; `_sources`
   and `_head_sources`, which use it; and the `Family`: the prefix of task models, and the pattern of tensors that no
   hidden state depends on (poolers, other heads, buffers).
   Test: tests/models/test_families.py, as soon as 3 and 4 are there: the sizes are the config's and every parameter has
   a name.
3. Row in `FAMILIES`, below.
   Test: `test_every_family_is_tested` of tests/models/test_family_parity.py, which fails until 4 is there.
4. Rows in `TINY` (tests/tiny_models.py), one for each variant that the config can switch on, and in `PLACES`
   (tests/models/parity.py), where PyTorch's model has the three sites.
   Test: tests/models/test_family_parity.py: all states and logits equal PyTorch's, alone, packed, and with neurons
   zeroed.
5. Trained weights. A row in `TRAINED` of tests/models/test_trained_parity.py, with text of the checkpoint's kind. Put
   the weights in a folder of that name, whose parent folder LCA_JAX_MODELS names. Where the kind of tokenizer is new, a
   row in `KINDS` of tests/tokenizer_kinds.py. `python -m benchmarks.family_parity` prints the figures of all families.
   Test: tests/models/test_trained_parity.py and tests/text/test_running_text.py.
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
    """Looks a family up.

    Raises:
        ModelError: It is not supported; the message lists those that are, and where it says how to add one.
    """
    if model_type not in FAMILIES:
        known = ", ".join(sorted(FAMILIES))
        raise ModelError(
            f"No model family {model_type!r}. Supported values of `model_type`: {known}. How to add one is said at the "
            "top of `lca_jax/models/families/__init__.py`."
        )
    return FAMILIES[model_type]
