"""A column of labels: every different label once, as text, and for each word the number of its label.

The numbers of a hundred tasks lie in memory together, so they have the smallest signed type that holds them: a byte a
word up to 128 labels, two up to 32,768, and four beyond. Files of earlier versions have four bytes a word, or a text;
they are read alike.
"""

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
from jaxtyping import Int


def make_column(labels: Sequence[str | None], places: pa.Array) -> pa.Array:
    """Returns the labels at some places as a column."""
    column = pa.array(labels, pa.string()).take(places).dictionary_encode()
    smallest = pa.from_numpy_dtype(np.min_scalar_type(-max(1, len(column.dictionary))))
    return pa.DictionaryArray.from_arrays(column.indices.cast(smallest), column.dictionary)


def read_texts(column: pa.ChunkedArray) -> list[str | None]:
    """Returns the label of every word; the texts of a class are one object, not one a word."""
    if not pa.types.is_dictionary(column.type):
        return column.to_pylist()
    labels: list[str | None] = []
    for chunk in column.chunks:
        names = [*chunk.dictionary.to_pylist(), None]
        labels += map(names.__getitem__, chunk.indices.fill_null(-1).to_pylist())
    return labels


def number_classes(column: pa.Array | pa.ChunkedArray) -> tuple[tuple[str, ...], Int[np.ndarray, " word"]]:
    """Returns the sorted classes of a column, and for every word the number of its class; -1 for none."""
    whole = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
    # A part of a column keeps the names of the whole, also of classes that it does not have.
    encoded = whole.cast(pa.string()).dictionary_encode()
    names = np.array(encoded.dictionary.to_pylist(), object)
    order = np.argsort(names, kind="stable")
    # One more place, which -1 finds.
    rank = np.append(np.argsort(order), -1).astype(np.min_scalar_type(-max(1, len(names))))
    numbers = encoded.indices.fill_null(-1).to_numpy(zero_copy_only=False)
    return tuple(names[order].tolist()), rank[numbers]
