"""Activation files as NeuroX 1.0.9 lays them out, written with h5py and json alone, by their description."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import h5py
import numpy as np

SENTENCES = (
    ("the", "una##ffa##ble", "cat"),
    (),
    ("a", "a"),
    ("the", "una##ffa##ble", "cat"),
    ("a", "a", "(Occurrence", "2)"),
    ("a", "a"),
    ("日本", "🙂", "", "\u00a0", "x"),
    ("the", "una##ffa##ble", "cat"),
)
KEYS = (
    "the una##ffa##ble cat",
    "",
    "a a",
    "the una##ffa##ble cat (Occurrence 2)",
    "a a (Occurrence 2)",
    "a a (Occurrence 3)",
    "日本 🙂  \u00a0 x",
    "the una##ffa##ble cat (Occurrence 3)",
)
"""What `sentence_to_index` has for these: a number is skipped where a sentence has taken its spelling."""
WORDS = sum(map(len, SENTENCES))


def draw_vectors(dtype: str = "float32", *, layers: int = 3, width: int = 4) -> list[np.ndarray]:
    """Vectors (layer, word, neuron) of every sentence, among them large, tiny and negative zero."""
    rng = np.random.default_rng(5)
    vectors = [(rng.normal(size=(layers, len(words), width)) * 3).astype(dtype) for words in SENTENCES]
    vectors[0][0, 0, :3] = (-0.0, 1e-7, 1000.125)
    return vectors


def open_hdf5(path: Path, mode: Literal["r", "a"] = "r") -> Any:
    """A file of h5py, of which the type checker cannot know that all its members are datasets."""
    return h5py.File(path, mode)


def write_hdf5(path: Path, vectors: Sequence[np.ndarray], keys: Sequence[str] = KEYS) -> Path:
    with h5py.File(path, "w") as file:
        for index, of_sentence in enumerate(vectors):
            file.create_dataset(str(index), data=of_sentence)
        text = file.create_dataset("sentence_to_index", (1,), dtype=h5py.string_dtype())
        text[0] = json.dumps({key: str(index) for index, key in enumerate(keys)})
    return path


def json_line(index: int, words: Sequence[str], vectors: np.ndarray) -> str:
    features = []
    for position, word in enumerate(words):
        layers = [
            {"index": layer, "values": [round(float(value), 8) for value in vectors[layer, position]]}
            for layer in range(len(vectors))
        ]
        features.append({"token": word, "layers": layers})
    return json.dumps({"linex_index": index, "features": features}) + "\n"


def write_json(path: Path, vectors: Sequence[np.ndarray]) -> Path:
    lines = [json_line(index, words, vectors[index]) for index, words in enumerate(SENTENCES)]
    path.write_text("".join(lines), encoding="utf-8")
    return path


def read_hdf5(path: Path) -> tuple[dict[str, str], dict[str, np.ndarray]]:
    """The index and the datasets of a file."""
    with open_hdf5(path) as file:
        index = json.loads(file["sentence_to_index"][0])
        return index, {name: file[name][()] for name in file if name != "sentence_to_index"}


def load_as_neurox(path: Path) -> list[np.ndarray]:
    """What NeuroX's loader makes of a file: (word, neuron) for every sentence, neuron j of layer j // width."""
    index, datasets = read_hdf5(path)
    found = [datasets[name].astype(np.float32) for name in index.values()]
    return [np.concatenate(list(of_sentence), axis=1) for of_sentence in found]
