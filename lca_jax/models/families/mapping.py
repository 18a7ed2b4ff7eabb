"""The contents of a family file: how its config is read, and which tensor becomes which parameter of the stack.

A family names tensors as the PyTorch model of transformers does; files in other layouts are brought to those names when
they are opened (`checkpoints`). `linear`, `norm`, `embedding` and `blocks` make the entries that most modules need.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from jaxtyping import Shaped

from lca_jax.hugging_face import PreTrainedConfig
from lca_jax.models.stack.config import HeadConfig, Precision, StackConfig

Tensor = Shaped[np.ndarray, "..."]


def transposed(tensor: Tensor) -> Tensor:
    """Transposes a matrix: PyTorch stores it as (output, input), the stack as (input, output)."""
    return tensor.T


def as_stored(tensor: Tensor) -> Tensor:
    """Returns the tensor itself, where checkpoint and stack have the same layout."""
    return tensor


class Source(NamedTuple):
    """The tensor that one parameter comes from, and how it is changed."""

    key: str
    """Name of the tensor in the checkpoint, without the family's prefix."""
    change: Callable[[Tensor], Tensor] = as_stored
    """Brings the tensor to the layout of the stack."""
    other_key: str | None = None
    """Another name that the same tensor may have."""
    otherwise: Callable[[], Tensor] | None = None
    """Makes the parameter where no tensor has either name; None where the checkpoint must have one."""


Sources = dict[str, Source]
"""Dotted path of a parameter in the stack to its source."""


def linear(path: str, key: str, *, bias: bool = True) -> Sources:
    """Returns the sources of a matrix and perhaps a bias, from a PyTorch `Linear`."""
    matrix = {f"{path}.kernel": Source(f"{key}.weight", transposed)}
    return matrix | ({f"{path}.bias": Source(f"{key}.bias")} if bias else {})


def norm(path: str, key: str, *, bias: bool = True) -> Sources:
    """Returns the sources of a norm's scale and perhaps its bias."""
    scale = {f"{path}.scale": Source(f"{key}.weight")}
    return scale | ({f"{path}.bias": Source(f"{key}.bias")} if bias else {})


def embedding(path: str, key: str) -> Sources:
    """Returns the source of a table of vectors."""
    return {f"{path}.embedding": Source(f"{key}.weight")}


def blocks(config: StackConfig, pattern: str, names: Mapping[str, str], *, inside: str = "") -> Sources:
    """Returns the sources of all blocks of a stack.

    Args:
        config: The stack: how many blocks it has, and which of their parts have a bias.
        pattern: Prefix of a block's names in the checkpoint, with `{}` for its number.
        names: Module of `Block` to its name in the checkpoint.
        inside: `decoder.` for the blocks of a decoder.
    """
    norm_bias = config.norm.kind == "layer" and config.norm.bias
    sources = {}
    for number in sorted(set(config.blocks)):
        for module, name in names.items():
            path, key = f"{inside}blocks.{number}.{module}", f"{pattern.format(number)}.{name}"
            if module.endswith("norm"):
                sources |= norm(path, key, bias=norm_bias)
            else:
                sources |= linear(path, key, bias=_has_bias(config, module))
    return sources


def _has_bias(config: StackConfig, module: str) -> bool:
    part, _, matrix = module.partition(".")
    if part == "mlp":
        return config.mlp.bias
    if matrix == "input":  # of a recurrence
        return False
    return config.attention.output_bias if matrix == "output" else config.attention.input_bias


def causal_head(_config: StackConfig, head: HeadConfig) -> Sources:
    """Returns the sources of a causal language model's head: piece vectors, unless they are the embedding's."""
    return {} if head.tied else embedding("head.pieces", "lm_head")


@dataclass(frozen=True, kw_only=True)
class Family:
    """One kind of checkpoint."""

    read_config: Callable[[PreTrainedConfig, Precision], StackConfig]
    """Returns the stack that a Hugging Face config describes; raises `ModelError` for a variant that the stack does not
    support."""
    sources: Callable[[StackConfig], Mapping[str, Source]]
    """Returns the source of every parameter of that stack, except those of its head."""
    head_sources: Callable[[StackConfig, HeadConfig], Mapping[str, Source]]
    """Returns the source of every parameter of the head; these keys include the prefix, if there is one."""
    prefix: str
    """Prefix that task models give the tensors of the stack (`bert.`); tensors without it are then those of heads."""
    ignored: str
    """Regular expression of tensors that no hidden state depends on: poolers, heads, buffers."""
    decoder: str | None = None
    """Regular expression of the decoder's tensors, which are left out where only the encoder is run."""
