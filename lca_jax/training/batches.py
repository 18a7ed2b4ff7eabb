"""Batches of few static shapes out of texts: windows packed into rows, and the rows filled up to a usual number.

Every shape is compiled once. A step takes a fixed number of windows, packed best fit; how many rows they need varies a
little, so batches have the number that 19 in 20 of the first epoch's need, or twice, four times, … that. The order of
the windows is drawn anew for every epoch, by the seed and the epoch's number: the batch of a step is a function of the
step, and a tuning that goes on after a stop sees the same ones.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from jaxtyping import Int32, Int64

from lca_jax.models.stack.stack import Batch
from lca_jax.text.packing import PackedRows, pack_windows
from lca_jax.training.texts import Texts

ROW_LENGTHS = (128, 256, 512)
"""Slots of a row: the first that holds all windows; the longest window's where none does."""
_PAD_ID = 0  # any piece will do: nothing attends to padding
_USUAL = 0.95


class TextBatch(NamedTuple):
    """Packed rows with the units that are read from them."""

    pieces: Batch
    """The rows."""
    units: Int32[np.ndarray, "row slot"]
    """Number of the unit that is read from a slot; as many as there are places for units where none is."""
    classes: Int32[np.ndarray, "unit"]
    """Class number of every unit; -1 for units that do not count, and for padding."""


@dataclass(frozen=True, kw_only=True)
class Shapes:
    """The static shapes of the batches of a tuning."""

    row_length: int
    """Slots of a row."""
    rows: int
    """Rows of the usual batch."""
    windows: int
    """Windows of a batch; the last one of an epoch may have fewer."""
    units: int | None
    """Places for units; None for one a slot, where windows have several."""

    @classmethod
    def plan(cls, texts: Sequence[Texts], *, windows: int, seed: int) -> "Shapes":
        """Plans the shapes.

        Args:
            texts: The texts of all batches, those of training first.
            windows: Windows of a batch.
            seed: Seed of the order.
        """
        longest = max(len(window.piece_ids) for part in texts for window in part.windows)
        length = next((length for length in ROW_LENGTHS if longest <= length), longest)
        single = all(len(window.words) == 1 for part in texts for window in part.windows)
        shapes = cls(row_length=length, rows=1, windows=windows, units=windows if single else None)
        first = [
            pack_texts(texts[0], chosen, row_length=length)
            for chosen in split_order(texts[0], shapes, seed=seed, epoch=0)
        ]
        usual = np.quantile([len(packed.piece_ids) for packed in first], _USUAL, method="inverted_cdf")
        return cls(row_length=length, rows=int(usual), windows=windows, units=shapes.units)

    def rows_for(self, needed: int) -> int:
        """Returns the rows of the shape that holds a number of them."""
        rows = self.rows
        while rows < needed:
            rows *= 2
        return rows


def batches_an_epoch(texts: Texts, shapes: Shapes) -> int:
    """Returns the number of batches that hold all windows once."""
    return -(-len(texts.windows) // shapes.windows)


def split_order(texts: Texts, shapes: Shapes, *, seed: int, epoch: int) -> list[Int64[np.ndarray, "window"]]:
    """Returns the numbers of the windows of each batch of an epoch."""
    order = np.random.default_rng([seed, epoch]).permutation(len(texts.windows))
    return [order[first : first + shapes.windows] for first in range(0, len(order), shapes.windows)]


def make_batch(texts: Texts, chosen: Int64[np.ndarray, "window"], shapes: Shapes) -> TextBatch:
    """Packs some windows into a batch; their units are numbered in the order of the windows.

    Args:
        texts: The texts.
        chosen: Numbers of the windows.
        shapes: The shapes.
    """
    packed = pack_texts(texts, chosen, row_length=shapes.row_length)
    rows = shapes.rows_for(len(packed.piece_ids))
    missing = ((0, rows - len(packed.piece_ids)), (0, 0))
    places = shapes.units or rows * shapes.row_length
    classes = np.full(places, -1, np.int32)
    given = np.concatenate([texts.classes[number] for number in chosen])
    classes[: len(given)] = given
    return TextBatch(
        pieces=Batch(
            np.pad(packed.piece_ids, missing),
            np.pad(packed.positions, missing),
            np.pad(packed.segments, missing),
            None if packed.token_types is None else np.pad(packed.token_types, missing),
        ),
        units=np.pad(units_of_slots(packed, nothing=places), missing, constant_values=places),
        classes=classes,
    )


def pack_texts(texts: Texts, chosen: Int64[np.ndarray, "window"], *, row_length: int) -> PackedRows:
    """Packs some windows into rows; their units are numbered in the order of the windows.

    Args:
        texts: The texts.
        chosen: Numbers of the windows.
        row_length: Slots of a row.
    """
    windows = [
        texts.windows[number]._replace(
            sentence=place, words=np.arange(len(texts.windows[number].words), dtype=np.int32)
        )
        for place, number in enumerate(chosen)
    ]
    counts = [len(window.words) for window in windows]
    offsets = np.concatenate([[0], np.cumsum(counts)[:-1]]).astype(np.int64)
    return pack_windows(windows, row_length=row_length, word_offsets=offsets, pad_id=_PAD_ID)


def units_of_slots(packed: PackedRows, *, nothing: int) -> Int32[np.ndarray, "row slot"]:
    """Returns the unit that is read from each slot; `nothing` where none is."""
    rows, length = packed.piece_ids.shape
    sizes = (packed.ends - packed.starts).astype(np.int64)
    inside = np.arange(sizes.sum()) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    units = np.full(rows * length, nothing, np.int32)
    units[np.repeat(packed.rows.astype(np.int64) * length + packed.starts, sizes) + inside] = np.repeat(
        packed.words, sizes
    )
    units = units.reshape(rows, length)
    return units if packed.between is None else np.where(packed.between, np.int32(nothing), units)
