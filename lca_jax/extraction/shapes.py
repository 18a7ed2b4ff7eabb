"""Chooses the static shapes of a run: how long packed rows are, and how many rows a batch has.

Every shape is compiled once, so a run has few: rows of `row_length` slots, and for windows longer than that rows of 256
slots, of 512, and of twice as many up to the longest window, in batches of an eighth of the slots, as long sentences
are rare. Every device of an accelerator has the rows of the usual batch, unless there are not so many for all the
devices of a job.

The shards of a store are chosen here too: small enough that every process of a job has as much work as any other, and
that two or three of them have room on the host.
"""

from collections.abc import Mapping

import jax
import numpy as np
from jax.sharding import Mesh

from lca_jax.machine.devices import platform_of, processes_of
from lca_jax.store.folder import CHUNK_WORDS
from lca_jax.store.recipe import Recipe, SiteShape
from lca_jax.text.corpus import Corpus

ROW_LENGTHS = (128, 256, 512)
"""Slots of a row, unless the caller gives another length."""
_LONG_ROW_LENGTHS = tuple(512 * 2**power for power in range(1, 12))
"""Slots of rows for windows of more than 512 pieces, where the caller wants those whole."""
_LANES = 128
"""Slots of the longest row are a multiple of this, where they are more than 512: so they can be attended in parts."""
LONGEST_WINDOW = 512
"""Pieces of the longest window, unless the model's own limit is lower or `row_length` is higher."""
CPU_BATCH_SLOTS = 1_024
"""Slots of the usual batch on a CPU."""
ACCELERATOR_BATCH_SLOTS = 16_384
"""Slots of the usual batch on an accelerator."""

SHARD_WORDS = 16_384
"""Units of a shard, where that is no more than `_SHARD_BYTES` and every process has a shard."""
_SHARD_BYTES = 1e9
"""Largest shard: 16,384 words of all layers of a 7B Llama would take 8.9 GB, and two or three of them are in memory."""
_PIECES_PER_WORD = 1.5
_LONG_BATCH_SHARE = 8


def shapes_on(mesh: Mesh, recipe: Recipe, *, words: int, rows_per_batch: int | None) -> dict[int, int]:
    """Returns the static shapes of a recipe's batches on some devices: rows of a batch for each row length.

    Args:
        mesh: The devices.
        recipe: What is read; its units may be pieces, sentences, or a few words of many.
        words: Words that the model runs over.
        rows_per_batch: Rows of the usual batch; None for as many as suit the devices and the words.
    """
    devices = mesh.shape["data"]
    # The devices of a CPU share its cores.
    copies = jax.process_count() // len(processes_of(mesh))
    slots = CPU_BATCH_SLOTS if platform_of(mesh) == "cpu" else usual_slots(words, devices, copies)
    return plan_shapes(
        row_length=recipe.row_length,
        longest_window=recipe.longest_window,
        rows_per_batch=rows_per_batch or max(1, slots // recipe.row_length),
        devices=devices,
    )


def usual_slots(words: int, devices: int, processes: int) -> int:
    """Returns the slots of the usual batch of one process on accelerators.

    Args:
        words: Words that the model runs over.
        devices: Devices of the process that each run a whole model.
        processes: Processes of the job, which share the words; those that share a model count as one.
    """
    full = ACCELERATOR_BATCH_SLOTS * devices
    own = int(_PIECES_PER_WORD * words / processes)
    # One process keeps its shapes for a text of any length, and with them its compiled programs.
    return full if processes == 1 else min(full, max(own, ACCELERATOR_BATCH_SLOTS))


def choose_shard_words(words: int, sites: Mapping[str, SiteShape], *, word_bytes: int, processes: int) -> int:
    """Returns the units of a shard, a multiple of 256.

    Args:
        words: Units of the store.
        sites: Layers and neurons of every site.
        word_bytes: Bytes of one number.
        processes: Processes of the job, each of which writes whole shards.
    """
    numbers = sum(len(shape.layers) * shape.width for shape in sites.values())
    most = min(SHARD_WORDS, max(1, int(_SHARD_BYTES / (numbers * word_bytes)) // CHUNK_WORDS) * CHUNK_WORDS)
    if processes == 1:
        return most
    each = -(-words // (processes * -(-words // (processes * most))))
    return max(1, -(-each // CHUNK_WORDS)) * CHUNK_WORDS


def plan_shapes(*, row_length: int, longest_window: int, rows_per_batch: int, devices: int) -> dict[int, int]:
    """Returns the static shapes of a run: rows of a batch for each row length, in rising order of the length.

    Args:
        row_length: Slots of the usual rows.
        longest_window: Slots that the longest window can need.
        rows_per_batch: Rows of the usual batch; rounded up to a multiple of `devices`.
        devices: Number of devices over which the rows are split.
    """
    longer = [length for length in (*ROW_LENGTHS, *_LONG_ROW_LENGTHS) if row_length < length < longest_window]
    if longest_window > row_length:
        long = longest_window > ROW_LENGTHS[-1]
        longer.append(-(-longest_window // _LANES) * _LANES if long else longest_window)
    slots = rows_per_batch * row_length // _LONG_BATCH_SHARE
    rows = {row_length: rows_per_batch} | {length: max(slots // length, 1) for length in longer}
    return {length: -(-count // devices) * devices for length, count in rows.items()}


def choose_window(longest: int | None, *, row_length: int, most: int) -> int:
    """Returns the pieces of the longest window.

    Args:
        longest: What is asked for; None for the usual number.
        row_length: Pieces of a packed row, which a window may always fill.
        most: Pieces that the model takes.
    """
    return min(most, max(longest or LONGEST_WINDOW, row_length))


def choose_row_length(corpus: Corpus) -> int:
    """Returns the shortest usual row length that holds nine words in ten, judged by the sentences' lengths in words.

    It is seldom another than 128: attention costs more in longer rows, and best fit leaves no room in short ones
    either.
    """
    lengths = np.sort([len(sentence) for sentence in corpus.sentences])
    words = np.cumsum(lengths)
    typical = lengths[np.searchsorted(words, 0.9 * words[-1])] * _PIECES_PER_WORD
    return next((length for length in ROW_LENGTHS if typical <= length), ROW_LENGTHS[-1])
