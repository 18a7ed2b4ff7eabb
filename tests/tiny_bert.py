"""A BERT of a few thousand parameters in a Hugging Face folder, without PyTorch, and windows packed into rows."""

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from safetensors.numpy import save_file

from lca_jax.models.stack.stack import Batch

WORDS = (
    "[PAD]",
    "[UNK]",
    "[CLS]",
    "[SEP]",
    "[MASK]",
    *"abcdefghijklmnopqrstuvwxyz",
    "the",
    "cat",
    "##s",
    "sat",
    "##ly",
)
CONFIG = {
    "model_type": "bert",
    "architectures": ["BertModel"],
    "vocab_size": 48,
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 40,
    "hidden_act": "gelu",
    "max_position_embeddings": 24,
    "type_vocab_size": 2,
    "layer_norm_eps": 1e-12,
    "initializer_range": 0.02,
}


def draw_tensors(seed: int = 0, **changes) -> dict[str, np.ndarray]:
    """All tensors of a BERT by their PyTorch names, large enough for every part of the network to matter."""
    config = CONFIG | changes
    width, units = config["hidden_size"], config["intermediate_size"]
    tensors = {}
    generator = np.random.default_rng(seed)

    def draw(name: str, *shape: int, mean: float = 0.0) -> None:
        tensors[name] = (mean + 0.3 * generator.standard_normal(shape)).astype(np.float32)

    def draw_pair(name: str, *shape: int, mean: float = 0.0) -> None:
        draw(f"{name}.weight", *shape, mean=mean)
        draw(f"{name}.bias", shape[0])

    draw("embeddings.word_embeddings.weight", config["vocab_size"], width)
    draw("embeddings.position_embeddings.weight", config["max_position_embeddings"], width)
    draw("embeddings.token_type_embeddings.weight", config["type_vocab_size"], width)
    draw_pair("embeddings.LayerNorm", width, mean=1.0)
    for layer in range(config["num_hidden_layers"]):
        block = f"encoder.layer.{layer}"
        for name in ("self.query", "self.key", "self.value", "output.dense"):
            draw_pair(f"{block}.attention.{name}", width, width)
        draw_pair(f"{block}.attention.output.LayerNorm", width, mean=1.0)
        draw_pair(f"{block}.intermediate.dense", units, width)
        draw_pair(f"{block}.output.dense", width, units)
        draw_pair(f"{block}.output.LayerNorm", width, mean=1.0)
    return tensors


def write_settings(folder: Path, **changes) -> Path:
    """Config and tokenizer, no weights."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(CONFIG | changes))
    (folder / "vocab.txt").write_text("\n".join(WORDS) + "\n")
    (folder / "tokenizer_config.json").write_text(json.dumps({"tokenizer_class": "BertTokenizer"}))
    return folder


def write_bert(folder: Path, seed: int = 0, **changes) -> Path:
    """A whole model folder."""
    save_file(draw_tensors(seed, **changes), write_settings(folder, **changes) / "model.safetensors")
    return folder


def draw_windows(lengths: Sequence[int], *, vocabulary: int = 48, seed: int = 1) -> list[np.ndarray]:
    """Piece ids of windows with the given lengths."""
    generator = np.random.default_rng(seed)
    return [generator.integers(5, vocabulary, length).astype(np.int32) for length in lengths]


def pack(
    windows: Sequence[np.ndarray], *, slots: int, alone: bool = False, like: Sequence[tuple[int, slice]] | None = None
) -> tuple[Batch, list[tuple[int, slice]]]:
    """Fills rows one after the other, or gives each window a row; returns where each window lies.

    With `like`, what was returned for other windows, every window comes into the row of its counterpart.
    """
    rows: list[list[np.ndarray]] = []
    places = []
    for number, window in enumerate(windows):
        full = not rows or sum(map(len, rows[-1])) + len(window) > slots
        if alone or (full if like is None else like[number][0] == len(rows)):
            rows.append([])
        start = sum(map(len, rows[-1]))
        places.append((len(rows) - 1, slice(start, start + len(window))))
        rows[-1].append(window)
    batch = Batch(*(np.zeros((len(rows), slots), np.int32) for _ in range(3)))
    numbers = [1] * len(rows)
    for window, (row, place) in zip(windows, places, strict=True):
        batch.piece_ids[row, place] = window
        batch.positions[row, place] = np.arange(len(window))
        batch.segments[row, place] = numbers[row]
        numbers[row] += 1
    return batch, places
