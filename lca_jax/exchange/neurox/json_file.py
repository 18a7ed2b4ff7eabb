"""NeuroX's JSON files: one sentence per line, every neuron of every word as a decimal number.

A line is `{"linex_index": 0, "features": [{"token": WORD, "layers": [{"index": 0, "values": [0.25, …]}, …]}, …]}`.
Values are rounded to 8 decimals, so neurons below 0.125 lose digits that a float32 has; numbers that were read from
such a file are written back the same. The order of the lines is that of the sentences; as in NeuroX, `linex_index`
decides nothing.

One line at a time is in memory, besides the words and one number per line. A file is parsed twice: once to check all of
it before anything is written, once for the vectors.
"""

import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO

import numpy as np
from jaxtyping import Float, Shaped

from lca_jax.errors import StoreError, list_problems
from lca_jax.exchange.neurox.layout import FileLayout, NeuroxReader, NeuroxWriter
from lca_jax.machine.json_text import parse_json

_DECIMALS = 8


class JsonReader(NeuroxReader):
    """A JSON file of NeuroX, open for reading. It does not name the type of its numbers; they are read as float32."""

    def __init__(self, path: Path) -> None:
        """Checks every line, and keeps the place where it begins.

        Raises:
            StoreError: The file cannot be read, or lines break the layout; the message lists all of them.
        """
        self._begins: list[int] = []
        self._shape = (0, 0)
        try:
            with path.open("rb") as file:
                self.layout = self._look_over(file)
        except OSError as error:
            raise StoreError(f"{path} cannot be read: {error}") from None
        self._file = path.open("rb")

    def read(self, sentence: int) -> Float[np.ndarray, "layer word neuron"]:  # noqa: D102
        self._file.seek(self._begins[sentence])
        _, vectors = _parse(self._file.readline())
        return vectors.astype(np.float32).reshape(-1, *self._shape).swapaxes(0, 1)

    def close(self) -> None:  # noqa: D102
        self._file.close()

    def _look_over(self, file: BinaryIO) -> FileLayout:
        sentences, problems = [], []
        shapes: list[tuple[int, ...] | None] = []
        """Layers and width of each line; None for a line without words."""
        position = 0
        for number, line in enumerate(file, 1):
            try:
                words, vectors = _parse(line)
            except (ValueError, TypeError, KeyError, OverflowError) as error:
                problems.append(f"line {number}: {error}")
                words, vectors = (), np.empty((0,))
            self._begins.append(position)
            position += len(line)
            sentences.append(words)
            shapes.append(vectors.shape[1:] if len(words) else None)
        kinds = Counter(shape for shape in shapes if shape is not None)
        usual = kinds.most_common(1)[0][0] if kinds else (0, 0)
        problems += [
            f"line {number}: {shape[0]} layers of {shape[1]} neurons, but most lines have {usual[0]} of {usual[1]}"
            for number, shape in enumerate(shapes, 1)
            if shape not in (None, usual)
        ]
        if not kinds and not problems:
            problems.append("there is no word")
        if problems:
            raise StoreError(f"{file.name} breaks the layout of NeuroX's files:\n{list_problems(problems)}")
        self._shape = usual
        return FileLayout(sentences=tuple(sentences), layers=usual[0], width=usual[1], dtype="float32")


class JsonWriter(NeuroxWriter):
    """Writes a JSON file as NeuroX does, character by character."""

    def __init__(self, path: Path) -> None:
        """Begins a file."""
        self._file = path.open("w", encoding="utf-8", newline="\n")
        self._written = 0

    def write(self, words: Sequence[str], vectors: Shaped[np.ndarray, "layer word neuron"]) -> None:  # noqa: D102
        features = [
            {
                "token": word,
                "layers": [
                    {"index": index, "values": [round(value, _DECIMALS) for value in values]}
                    for index, values in enumerate(of_word)
                ],
            }
            for word, of_word in zip(words, vectors.swapaxes(0, 1).tolist(), strict=True)
        ]
        self._file.write(json.dumps({"linex_index": self._written, "features": features}) + "\n")
        self._written += 1

    def close(self) -> None:  # noqa: D102
        self._file.close()


def _parse(line: bytes) -> tuple[tuple[str, ...], Float[np.ndarray, "word ..."]]:
    """Returns the words of one line, and their vectors (word, layer, neuron); without words there are no other axes.

    Raises:
        ValueError, TypeError, KeyError: The line breaks the layout; the message says how.
    """
    content = parse_json(line)
    if not isinstance(content, dict) or not isinstance(content.get("features"), list):
        raise TypeError("must be a JSON object with a list `features`")
    words, vectors = [], []
    for position, feature in enumerate(content["features"], 1):
        try:
            word, layers = feature["token"], feature["layers"]
            if [layer["index"] for layer in layers] != list(range(len(layers))) or not layers:
                raise ValueError("`index` must count the layers from 0")  # noqa: TRY301 - its place is added below
            values = np.array([layer["values"] for layer in layers])
        except (ValueError, TypeError, KeyError, OverflowError) as error:
            raise ValueError(f"word {position} breaks the layout: {error!r}") from None
        if not isinstance(word, str) or values.ndim != 2 or values.dtype.kind not in "fi":
            raise ValueError(f"word {position}: `token` must be text and `values` lists of numbers")
        words.append(word)
        vectors.append(values)
    if len({values.shape for values in vectors}) > 1:
        raise ValueError("its words have different numbers of layers or neurons")
    return tuple(words), np.array(vectors, np.float64)
