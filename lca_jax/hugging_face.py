"""Configurations and tokenizers of the package `transformers`, imported without PyTorch and without its notices.

Every import of transformers in this package passes here (a test). Version 5 prints at its import that PyTorch was not
found, where that is so; and where PyTorch is installed, its configurations import it, for functions that we never call:
1.5 processor seconds and 200 MB. Here the notice is left out, and `import torch` inside of transformers gives a
stand-in that imports PyTorch when something is first taken from it. So nothing is switched off for others: a program
that uses transformers' PyTorch models beside this package finds them, whichever of the two it imports first. If PyTorch
is imported already, nothing is done.
"""

import importlib.util
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from types import ModuleType
from typing import Literal

_NOTICES = "TRANSFORMERS_NO_ADVISORY_WARNINGS"
"""Environment variable of transformers that silences its notices."""


class _LateTorch(ModuleType):
    """Stands for the module `torch` until something is taken from it."""

    def __getattr__(self, name: str) -> object:
        if sys.modules.get("torch") is self:
            del sys.modules["torch"]
        return getattr(import_module("torch"), name)


@contextmanager
def _without_torch() -> Iterator[None]:
    """Lets imports in the block take the stand-in for PyTorch, where it is installed and not imported yet."""
    spec = None if "torch" in sys.modules else importlib.util.find_spec("torch")
    if spec is None:
        yield
        return
    late = _LateTorch("torch")
    # Whoever looks through all modules meanwhile, as `inspect` does, shall find these without importing PyTorch.
    late.__spec__, late.__file__ = spec, spec.origin
    sys.modules["torch"] = late
    try:
        yield
    finally:
        if sys.modules.get("torch") is late:
            del sys.modules["torch"]


@contextmanager
def _without_notices() -> Iterator[None]:
    """Silences the notices of transformers in the block, unless the environment says what to do about them."""
    if _NOTICES in os.environ:
        yield
        return
    os.environ[_NOTICES] = "1"
    try:
        yield
    finally:
        del os.environ[_NOTICES]


with _without_notices(), _without_torch():
    from transformers import AutoConfig as AutoConfig
    from transformers import AutoTokenizer as AutoTokenizer
    from transformers import GenerationConfig as GenerationConfig
    from transformers import PreTrainedConfig as PreTrainedConfig
    from transformers import PreTrainedTokenizer as PreTrainedTokenizer
    from transformers import PreTrainedTokenizerBase as PreTrainedTokenizerBase
    from transformers import PreTrainedTokenizerFast as PreTrainedTokenizerFast


def special_piece(tokenizer: PreTrainedTokenizerBase, name: Literal["mask", "bos"]) -> int | None:
    """Returns the number of a special piece of a tokenizer, or None if it has no such piece."""
    number = getattr(tokenizer, f"{name}_token_id")
    return number if isinstance(number, int) else None
