"""The identity of a model: a hash of everything that its activations depend on.

Stores are known by it, so it must never be that of other parameters. It is computed from the parameters that are in
memory, whatever file or training they come from; a hash that was made while they were read is kept beside them and
holds only for these very arrays, which are immutable.
"""

import hashlib
import json
import weakref
from collections.abc import Iterable
from dataclasses import asdict
from typing import Any, NamedTuple

import jax
import numpy as np

from lca_jax.errors import ModelError
from lca_jax.machine.checksums import checksum_of
from lca_jax.machine.devices import fetch
from lca_jax.models.stack.config import StackConfig
from lca_jax.models.stack.stack import Params


class HashedParams(NamedTuple):
    """A hash of parameters, and the arrays that it was made of; these are not kept alive."""

    arrays: tuple[weakref.ref, ...]
    """The arrays, in the order of the tree."""
    digest: str
    """SHA-256 over names, types, shapes and values."""

    @classmethod
    def of(cls, params: Params) -> "HashedParams":
        """Hashes parameters; the host holds one of them at a time."""
        digest = hashlib.sha256()
        leaves, _ = jax.tree_util.tree_flatten_with_path(params)
        for names, leaf in leaves:
            digest.update(heading(names, leaf))
            digest.update(np.ascontiguousarray(fetch(leaf)).reshape(-1).view(np.uint8).data)
        return cls.known([leaf for _, leaf in leaves], digest.hexdigest())

    @classmethod
    def known(cls, leaves: Iterable[Any], digest: str) -> "HashedParams":
        """Keeps a hash that was made while these arrays were read."""
        return cls(tuple(weakref.ref(leaf) for leaf in leaves), digest)

    def is_of(self, params: Params) -> bool:
        """Returns whether these are the very arrays that were hashed."""
        leaves = jax.tree.leaves(params)
        return len(leaves) == len(self.arrays) and all(
            array() is leaf for array, leaf in zip(self.arrays, leaves, strict=True)
        )


def heading(names: tuple, leaf: Any) -> bytes:
    """Returns what is hashed before the values of a parameter: its path, type and shape."""
    path = jax.tree_util.keystr(names, simple=True, separator=".")
    return f"{path} {leaf.dtype} {leaf.shape}\n".encode()


def fingerprint_of(config: StackConfig, params: str, tokenizer: str) -> str:
    """Returns the identity of a model.

    Args:
        config: Its stack.
        params: Hash of its parameters.
        tokenizer: Checksum of what its tokenizer depends on.
    """
    described = checksum_of(json.dumps(asdict(config), sort_keys=True).encode())
    return checksum_of(f"{described} {params} {tokenizer}".encode())


def refuse_unlike(expected: Params, found: Params) -> None:
    """Checks that parameters have the structure, shapes and types of others.

    Raises:
        ModelError: They differ; the message names the first parameter that does.
    """
    shapes, others = (
        {jax.tree_util.keystr(names, simple=True, separator="."): (leaf.shape, str(leaf.dtype)) for names, leaf in of}
        for of in (jax.tree_util.tree_flatten_with_path(params)[0] for params in (expected, found))
    )
    for path in [*shapes, *others]:
        if shapes.get(path) != others.get(path):
            wanted, got = (
                f"{dtype} {shape}" if shape is not None else "none"
                for shape, dtype in (of.get(path, (None, None)) for of in (shapes, others))
            )
            raise ModelError(f"The parameter `{path}` of the model must be {wanted}, got {got}.")
