"""Arrays that go to files come back with the same bits, and leave nothing behind."""

import gc
import logging
import os
import tempfile

import numpy as np
import pytest

from lca_jax.machine.spill import Spill


def test_the_first_arrays_stay_and_later_ones_come_back_from_files() -> None:
    generator = np.random.default_rng(0)
    made: list[np.ndarray] = [
        generator.normal(size=(2, size)).astype(np.float32) for size in (1, 1000, 3, 0, 50_000)
    ]  # nothing needs no room
    made.append(np.asfortranarray(generator.normal(size=(7, 5))))
    spill = Spill(in_memory=float(made[0].nbytes + made[1].nbytes))
    kept = [spill.keep(array) for array in made]
    assert [one is array for one, array in zip(kept, made, strict=True)] == [True, True, False, True, False, False]
    for one, array in zip(kept, made, strict=True):
        assert (one.dtype, one.shape) == (array.dtype, array.shape)
        np.testing.assert_array_equal(one, array)
    with pytest.raises(ValueError, match="read-only"):
        kept[2][0, 0] = 0.0


def test_an_array_outlives_its_spill_and_a_file_is_filled_before_the_next() -> None:
    spill = Spill(in_memory=0.0)
    kept = [spill.keep(np.full(2**20, number, np.uint8)) for number in range(130)]  # of 64 MB a file
    del spill
    gc.collect()
    assert [int(one[0]) for one in kept] == list(range(130))


def test_on_a_full_disk_arrays_stay_in_memory(monkeypatch: pytest.MonkeyPatch, caplog) -> None:
    def full(*_: object) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "pwrite", full)
    spill, array = Spill(in_memory=0.0), np.ones(3)
    with caplog.at_level(logging.WARNING):
        assert spill.keep(array) is array
        assert spill.keep(array) is array
    assert caplog.text.count("set TMPDIR") == 1
    assert tempfile.gettempdir() in caplog.text
