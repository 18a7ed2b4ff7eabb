"""What a store and its statistics say of themselves at a prompt and in a notebook."""

import logging
from pathlib import Path

import numpy as np
import pytest

from lca_jax import Gathering, gather_statistics
from lca_jax.store.derived import pair_words
from lca_jax.store.description import name_layers, warn_of_excluded
from tests.store.writing import write_store
from tests.stores import store_of


def test_a_store_says_what_it_holds(tmp_path: Path) -> None:
    store = write_store(tmp_path / "store")
    assert repr(store).splitlines() == [
        "Activations of 50 words (49 with a vector), from drawn and none",
        "site      layers   neurons per layer  type",
        "residual  0, 2, 5                  8  float32",
        "mlp       1                       16  float32",
        "tasks: upper",
        "without a vector: 1 no piece",
        f"place: {tmp_path}/store",
    ]
    html = store._repr_html_()
    assert "<td" in html
    assert "without a vector: 1 no piece" in html


def test_pairs_and_statistics_say_what_they_are() -> None:
    store = store_of(np.ones((4, 3, 2), np.float32), [["a", "b"]] * 2, {"head": [["2", "0"]] * 2})
    assert repr(pair_words(store)).startswith("Activations of 2 pairs of words (2 with a vector)")
    assert "0 to 2" in repr(store)
    statistics = gather_statistics(store, Gathering(covariance=False))
    lines = repr(statistics).splitlines()
    assert lines[0] == "Statistics of 4 words with a vector in memory"
    assert lines[2].split() == ["residual", "0", "2", "1", "1"]
    assert lines[-3:] == ["tasks: head (2 classes)", "covariances: none", "quantiles: from 4 words"]
    assert "quantiles: from 4 words" in statistics._repr_html_()


def test_layers_for_people() -> None:
    assert name_layers([0, 1, 2]) == "0 to 2"
    assert name_layers([4, 5]) == "4, 5"
    assert name_layers([2, 1, 0]) == "2, 1, 0"


def test_words_without_a_vector_are_one_line_a_reason(caplog: pytest.LogCaptureFixture) -> None:
    store = write_store(None)
    with caplog.at_level(logging.WARNING, logger="lca_jax"):
        warn_of_excluded(store.manifest)
        warn_of_excluded(store.manifest, name="train")
    assert caplog.messages == [
        "drawn: 1 of 50 words have no vector: no piece",
        "train: 1 of 50 words have no vector: no piece",
    ]
