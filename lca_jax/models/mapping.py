"""What a family file states: how its config is read, and which checkpoint tensor becomes which parameter of the stack.

A family names tensors as the PyTorch model of transformers does; files in other layouts are brought to those names when
they are opened (`checkpoints`). `linear`, `norm` and `embedding` write the rows of the table that most modules need.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from jaxtyping import Shaped
from transformers import PreTrainedConfig

from lca_jax.models.config import Precision, StackConfig

Tensor = Shaped[np.ndarray, "..."]


def transposed(tensor: Tensor) -> Tensor:
    """PyTorch keeps a matrix as (output, input), the stack as (input, output)."""
    return tensor.T


def as_stored(tensor: Tensor) -> Tensor:
    """The same layout in both."""
    return tensor


class Source(NamedTuple):
    """Where one parameter comes from."""

    key: str
    """Name of the tensor in the checkpoint, without the family's prefix."""
    change: Callable[[Tensor], Tensor] = as_stored
    """Brings it to the layout of the stack."""


Sources = dict[str, Source]
"""Dotted path of a parameter in the stack -> where it comes from."""


def linear(path: str, key: str) -> Sources:
    """A matrix and its bias, out of a PyTorch `Linear`."""
    return {f"{path}.kernel": Source(f"{key}.weight", transposed), f"{path}.bias": Source(f"{key}.bias")}


def norm(path: str, key: str) -> Sources:
    """Scale and bias of a layer norm."""
    return {f"{path}.scale": Source(f"{key}.weight"), f"{path}.bias": Source(f"{key}.bias")}


def embedding(path: str, key: str) -> Sources:
    """A table of vectors."""
    return {f"{path}.embedding": Source(f"{key}.weight")}


@dataclass(frozen=True, kw_only=True)
class Family:
    """One kind of checkpoint."""

    read_config: Callable[[PreTrainedConfig, Precision], StackConfig]
    """The stack that a Hugging Face config describes; raises `ModelError` for a variant the stack has not."""
    sources: Callable[[StackConfig], Mapping[str, Source]]
    """Every parameter of that stack and where it comes from."""
    prefix: str
    """What task models put before the tensors of the stack (`bert.`); where they do, tensors without it are heads."""
    ignored: str
    """Regular expression of tensors that no hidden state depends on: poolers, heads, buffers."""
