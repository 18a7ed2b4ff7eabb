"""Attention by cuDNN on the GPU at hand, as one program that writes what it found, as JSON.

The suite runs on CPUs, so `test_on_a_gpu.py` starts this in a process of its own. On a CPU every call of the list is
refused, and nothing differs.
"""

import json
import logging
import sys
import tempfile
from pathlib import Path

import jax
import numpy as np

from lca_jax import Corpus, extract, load_model
from lca_jax.machine.devices import data_mesh
from lca_jax.models.stack import stack
from lca_jax.models.stack.config import Precision
from lca_jax.models.stack.fused import cudnn_answers
from lca_jax.models.stack.trial import Call
from tests.tiny_bert import write_bert

LOG = "lca_jax.models.stack.fused"
_MESH = data_mesh()
CALLS = {
    "BERT-base": Call(_MESH, 4 * _MESH.size, 512, 12, 12, 64, "bfloat16", False, None, 0.1),
    "Llama 7B": Call(_MESH, 4 * _MESH.size, 512, 32, 32, 128, "bfloat16", True, None, 0.1),
    "grouped queries": Call(_MESH, 4 * _MESH.size, 2_048, 32, 8, 128, "bfloat16", True, None, 0.1),
    "reach to both sides": Call(_MESH, 4 * _MESH.size, 1_024, 12, 12, 64, "bfloat16", False, 64, 0.1),
    "reach of a causal model": Call(_MESH, 4 * _MESH.size, 1_024, 8, 4, 128, "bfloat16", True, 512, 0.1),
    "heads of 80 units": Call(_MESH, 4 * _MESH.size, 512, 16, 16, 80, "bfloat16", True, None, 0.1),
}


def distances(folder: Path) -> dict[str, float]:
    """How far vectors in bfloat16 are from those in float32, with the kernel and without, as a share of their mean."""
    write_bert(folder, hidden_size=256, max_position_embeddings=1_024)
    draws = np.random.default_rng(0).integers(0, 2, (40, 1_000))
    lengths = np.random.default_rng(1).integers(3, 1_000, 40)
    sentences = [
        ["the" if draw else "cat" for draw in row[:length]] for row, length in zip(draws, lengths, strict=True)
    ]
    corpus = Corpus.from_words(sentences)

    def vectors(dtype: Precision) -> np.ndarray:
        jax.clear_caches()
        model = load_model(folder, dtype=dtype)
        store = extract(model, corpus, longest_window=1_024, dtype="float32")
        return np.asarray(store.read("residual")[:], np.float32)

    exact, with_kernel = vectors("float32"), vectors("bfloat16")
    stack.windows_of = lambda *_, **__: None
    without = vectors("bfloat16")
    size = np.abs(exact).mean()
    pairs = {
        "with_kernel": (with_kernel, exact),
        "without": (without, exact),
        "kernel_from_ordinary": (with_kernel, without),
    }
    return {name: float(np.abs(one - other).mean() / size) for name, (one, other) in pairs.items()}


def main(out: Path) -> None:
    lines: list[str] = []
    handler = logging.Handler()
    handler.emit = lambda record: lines.append(record.getMessage())
    log = logging.getLogger(LOG)
    log.addHandler(handler)
    log.setLevel(logging.INFO)
    with tempfile.TemporaryDirectory() as folder:
        found = distances(Path(folder))
    asked = cudnn_answers.cache_info().misses
    refused = [name for name, call in CALLS.items() if not cudnn_answers(call)]
    result = {"platform": jax.default_backend(), "distances": found, "asked": asked, "refused": refused}
    out.write_text(json.dumps(result | {"log": lines}), encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
