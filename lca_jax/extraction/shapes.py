"""Chooses the static shapes of a run: how long packed rows are, and how many rows a batch has.

Every shape is compiled once, so a run has few: rows of `row_length` slots, and for windows longer than that rows of 256
and of 512 slots, in batches of an eighth of the slots, as long sentences are rare.
"""

import numpy as np
from jax.sharding import Mesh

from lca_jax.store.recipe import Recipe
from lca_jax.text.corpus import Corpus

ROW_LENGTHS = (128, 256, 512)
"""Slots of a row, unless the caller gives another length."""
CPU_BATCH_SLOTS = 1_024
"""Slots of the usual batch on a CPU."""
ACCELERATOR_BATCH_SLOTS = 16_384
"""Slots of the usual batch on an accelerator."""

_PIECES_PER_WORD = 1.5
_LONG_BATCH_SHARE = 8


def shapes_on(mesh: Mesh, recipe: Recipe, *, rows_per_batch: int | None) -> dict[int, int]:
    """Returns the static shapes of a recipe's batches on some devices: rows of a batch for each row length."""
    on_cpu = mesh.devices.flat[0].platform == "cpu"
    usual = max(1, (CPU_BATCH_SLOTS if on_cpu else ACCELERATOR_BATCH_SLOTS) // recipe.row_length)
    return plan_shapes(
        row_length=recipe.row_length,
        longest_window=recipe.longest_window,
        rows_per_batch=rows_per_batch or usual,
        devices=mesh.shape["data"],
    )


def plan_shapes(*, row_length: int, longest_window: int, rows_per_batch: int, devices: int) -> dict[int, int]:
    """Returns the static shapes of a run: rows of a batch for each row length, in rising order of the length.

    Args:
        row_length: Slots of the usual rows.
        longest_window: Slots that the longest window can need.
        rows_per_batch: Rows of the usual batch; rounded up to a multiple of `devices`.
        devices: Number of devices over which the rows are split.
    """
    longer = [length for length in ROW_LENGTHS if row_length < length < longest_window]
    if longest_window > row_length:
        longer.append(longest_window)
    slots = rows_per_batch * row_length // _LONG_BATCH_SHARE
    rows = {row_length: rows_per_batch} | {length: max(slots // length, 1) for length in longer}
    return {length: -(-count // devices) * devices for length, count in rows.items()}


def choose_row_length(corpus: Corpus) -> int:
    """Returns the shortest usual row length that holds nine words in ten, judged by the sentences' lengths in words.

    It is seldom another than 128: attention costs more in longer rows, and best fit leaves no room in short ones
    either.
    """
    lengths = np.sort([len(sentence) for sentence in corpus.sentences])
    words = np.cumsum(lengths)
    typical = lengths[np.searchsorted(words, 0.9 * words[-1])] * _PIECES_PER_WORD
    return next((length for length in ROW_LENGTHS if typical <= length), ROW_LENGTHS[-1])
