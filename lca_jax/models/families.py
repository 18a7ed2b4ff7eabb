"""The families of checkpoints that can be loaded, by `model_type` of their config: a new one is a file and a row."""

from lca_jax.errors import ModelError
from lca_jax.models.bert import BERT
from lca_jax.models.mapping import Family

FAMILIES: dict[str, Family] = {"bert": BERT}


def find_family(model_type: str | None) -> Family:
    """Looks a family up.

    Raises:
        ModelError: It is not supported; the message lists those that are.
    """
    if model_type not in FAMILIES:
        known = ", ".join(sorted(FAMILIES))
        raise ModelError(f"No model family {model_type!r}. Supported values of `model_type`: {known}.")
    return FAMILIES[model_type]
