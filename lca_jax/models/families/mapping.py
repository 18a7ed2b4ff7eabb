"""What a family file states: how its config is read, and which checkpoint tensor becomes which parameter of the stack.

A family names tensors as the PyTorch model of transformers does; files in other layouts are brought to those names when
they are opened (`checkpoints`). `linear`, `norm` and `embedding` write the rows of the table that most modules need.
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
    other_key: str | None = None
    """Another name that the same tensor may have."""
    otherwise: Callable[[], Tensor] | None = None
    """What the parameter is where no tensor has either name; None where the checkpoint must have it."""


Sources = dict[str, Source]
"""Dotted path of a parameter in the stack -> where it comes from."""


def linear(path: str, key: str, *, bias: bool = True) -> Sources:
    """A matrix and perhaps a bias, out of a PyTorch `Linear`."""
    matrix = {f"{path}.kernel": Source(f"{key}.weight", transposed)}
    return matrix | ({f"{path}.bias": Source(f"{key}.bias")} if bias else {})


def norm(path: str, key: str, *, bias: bool = True) -> Sources:
    """Scale and perhaps bias of a norm."""
    scale = {f"{path}.scale": Source(f"{key}.weight")}
    return scale | ({f"{path}.bias": Source(f"{key}.bias")} if bias else {})


def embedding(path: str, key: str) -> Sources:
    """A table of vectors."""
    return {f"{path}.embedding": Source(f"{key}.weight")}


def blocks(config: StackConfig, pattern: str, names: Mapping[str, str], *, inside: str = "") -> Sources:
    """All blocks of a stack.

    Args:
        config: Says how many there are and what has a bias.
        pattern: What stands before a block's names in the checkpoint, with `{}` for its number.
        names: Module of `Block` -> its name in the checkpoint.
        inside: `decoder.` for the blocks of a decoder.
    """
    norm_bias = config.norm.kind == "layer" and config.norm.bias
    sources = {}
    for number in sorted(set(config.blocks)):
        for ours, theirs in names.items():
            path, key = f"{inside}blocks.{number}.{ours}", f"{pattern.format(number)}.{theirs}"
            if ours.endswith("norm"):
                sources |= norm(path, key, bias=norm_bias)
            else:
                sources |= linear(path, key, bias=_has_bias(config, ours))
    return sources


def _has_bias(config: StackConfig, module: str) -> bool:
    part, _, matrix = module.partition(".")
    if part == "mlp":
        return config.mlp.bias
    if matrix == "input":  # of a recurrence
        return False
    return config.attention.output_bias if matrix == "output" else config.attention.input_bias


def causal_head(_config: StackConfig, head: HeadConfig) -> Sources:
    """For causal language models: piece vectors, where the head has its own."""
    return {} if head.tied else embedding("head.pieces", "lm_head")


@dataclass(frozen=True, kw_only=True)
class Family:
    """One kind of checkpoint."""

    read_config: Callable[[PreTrainedConfig, Precision], StackConfig]
    """The stack that a Hugging Face config describes; raises `ModelError` for a variant the stack has not."""
    sources: Callable[[StackConfig], Mapping[str, Source]]
    """Every parameter of that stack but its head's and where it comes from."""
    head_sources: Callable[[StackConfig, HeadConfig], Mapping[str, Source]]
    """Every parameter of the head; keys with their own prefix."""
    prefix: str
    """What task models put before the tensors of the stack (`bert.`); where they do, tensors without it are heads."""
    ignored: str
    """Regular expression of tensors that no hidden state depends on: poolers, heads, buffers."""
    decoder: str | None = None
    """Regular expression of the tensors of a decoder, left out where only the encoder is run."""
