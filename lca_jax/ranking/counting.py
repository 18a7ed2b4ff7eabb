"""Counts the words of each class on which each neuron lies above a threshold: exactly, on the devices.

For a threshold t the counts of all classes and neurons are one product, with one indicator of words by class and one of
words by neuron. Words are read in blocks of one shape, so a block costs no second compilation, and the indicator of a
block is all the memory that is needed. Counts of a block stay below 2²⁴, where float32 counts exactly. On several
devices each has some of the neurons, so that none waits for another.
"""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float32, Int64

from lca_jax.machine.devices import data_mesh, fetch, shard_rows
from lca_jax.machine.precision import FLOAT32

_WORDS = 4096
"""Words of a block."""


def count_above(
    X: Float32[np.ndarray, "word feature"],
    inside: Bool[np.ndarray, "class word"],
    thresholds: Float32[np.ndarray, "level feature"],
    *,
    signs: Sequence[int] | None = None,
) -> Int64[np.ndarray, "level class feature"]:
    """Counts words of each class with a value above each threshold.

    Args:
        X: Activations of the words.
        inside: Which words are of each class; the classes may overlap.
        thresholds: Thresholds of every neuron.
        signs: 1 or -1 for every level: -1 counts words whose negated value is above. None for 1 everywhere.
    """
    mesh, size, features = data_mesh(), min(_WORDS, len(X)), X.shape[1]
    levels = shard_rows(mesh, thresholds, axis=1)
    turned = np.ones(len(thresholds), np.float32) if signs is None else np.asarray(signs, np.float32)
    counts = np.zeros((len(thresholds), len(inside), features), np.int64)
    for first in range(0, len(X), size):
        values = np.zeros((size, features), np.float32)
        members = np.zeros((size, len(inside)), np.float32)  # words of padding are in no class
        block = slice(first, min(first + size, len(X)))
        values[: block.stop - first], members[: block.stop - first] = X[block], inside[:, block].T
        found = _count(shard_rows(mesh, values, axis=1), members, levels, turned)
        counts += fetch(found)[:, :, :features].astype(np.int64)
    return counts


@jax.jit
def _count(
    values: Float32[Array, "word feature"],
    members: Float32[Array | np.ndarray, "word class"],
    thresholds: Float32[Array, "level feature"],
    signs: Float32[Array | np.ndarray, " level"],
) -> Float32[Array, "level class feature"]:
    def of_level(
        level: tuple[Float32[Array, " feature"], Float32[Array, ""]],
    ) -> Float32[Array, "class feature"]:
        threshold, sign = level
        above = (sign * values > threshold[None, :]).astype(jnp.float32)
        return jnp.matmul(members.T, above, precision=FLOAT32)

    return jax.lax.map(of_level, (thresholds, jnp.asarray(signs)))
