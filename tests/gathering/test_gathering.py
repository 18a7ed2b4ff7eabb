"""Statistics gathered beside an extraction: the same as of the store, whatever happens to the run."""

import logging
from functools import partial, partialmethod
from pathlib import Path

import jax
import numpy as np
import pytest
from jax.sharding import Mesh

from lca_jax import Gathering, Statistics, extract, gather_statistics, open_store
from lca_jax.errors import DataError, SettingsError, StoreError
from lca_jax.models.load import load_model
from lca_jax.models.model import Model
from lca_jax.models.stack.taps import Edit
from lca_jax.store.folder_writer import FolderWriter
from lca_jax.store.recipe import StoreDtype
from lca_jax.store.statistics import STATISTICS
from lca_jax.text.corpus import Corpus
from tests.extraction.corpora import ODD, draw_corpus
from tests.extraction.jobs import Killed, end_job, start_job
from tests.gathering.reference import check_against_numpy
from tests.store.writing import hash_files
from tests.tiny_bert import write_bert

ALL = Gathering()
extract_in_shards = partial(extract, shard_words=64, rows_per_batch=8, row_length=24)
"""In shards smaller than a batch."""


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Model:
    return load_model(write_bert(tmp_path_factory.mktemp("bert")))


@pytest.fixture(scope="module")
def corpus() -> Corpus:
    return draw_corpus(120)


def check_same(one: Statistics, other: Statistics) -> None:
    """To the last digits of float32 sums in another order."""
    np.testing.assert_array_equal(one.quantiles, other.quantiles)
    np.testing.assert_array_equal(one.smallest, other.smallest)
    np.testing.assert_array_equal(one.largest, other.largest)
    unit = np.sqrt(other.variance)
    assert (np.abs(one.mean - other.mean) / unit).max() < 1e-6
    assert (np.abs(one.variance / other.variance - 1)).max() < 1e-5
    for task, of_task in other.by_task.items():
        np.testing.assert_array_equal(one.of_task(task).counts, of_task.counts)
        np.testing.assert_allclose(one.of_task(task).mean / unit, of_task.mean / unit, atol=1e-6)
    for held, expected in zip(one.covariances or (), other.covariances or (), strict=True):
        np.testing.assert_allclose(held, expected, rtol=1e-4, atol=1e-6 * float(unit.max() ** 2))


@pytest.mark.slow
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_beside_an_extraction_as_of_its_store(model: Model, corpus: Corpus, tmp_path: Path, dtype: StoreDtype) -> None:
    """Shards smaller than a batch, in memory and on disk, with two sites."""
    run = partial(extract_in_shards, model, corpus, sites=("residual", "mlp"), dtype=dtype, statistics=ALL)
    in_memory, on_disk = run(), run(tmp_path / "store")
    assert in_memory.statistics().to_bytes() == on_disk.statistics().to_bytes()
    assert in_memory.statistics().place == "memory"
    check_against_numpy(on_disk.statistics(), on_disk)
    check_same(on_disk.statistics(), gather_statistics(in_memory))
    plain = extract_in_shards(model, corpus, tmp_path / "plain", sites=("residual", "mlp"), dtype=dtype)
    ours, theirs = hash_files(tmp_path / "store"), hash_files(tmp_path / "plain")
    assert ours.keys() - theirs.keys() == {STATISTICS}
    assert {name: ours[name] for name in theirs} == theirs
    assert not plain.has_statistics


def test_words_without_a_vector_and_chosen_neurons(model: Model) -> None:
    store = extract_in_shards(model, Corpus.from_words(ODD), neurons=[7, 3], statistics=ALL)
    assert not store.usable.all()
    check_against_numpy(store.statistics(), store)
    assert [neuron.index for neuron in store.statistics().axis.neurons([0, 1])] == [7, 3]


def test_one_device_and_eight(model: Model, corpus: Corpus, monkeypatch: pytest.MonkeyPatch) -> None:
    on_eight = extract(model, corpus, statistics=ALL).statistics()
    one = Mesh(np.array(jax.devices()[:1]), ("data",))
    monkeypatch.setattr("lca_jax.extraction.reading.data_mesh", lambda: one)
    alone = extract(model, corpus, statistics=ALL)
    check_against_numpy(alone.statistics(), alone)
    unit = np.sqrt(on_eight.variance)
    assert (np.abs(alone.statistics().mean - on_eight.mean) / unit).max() < 1e-5


def stop_in_shard(run: partial, folder: Path, monkeypatch: pytest.MonkeyPatch, *, stop_at: int, after: bool) -> None:
    """Stops a run before a shard is written, or between what was gathered of it and the record that it is whole."""
    write = FolderWriter.write

    def stopping(writer: FolderWriter, shard: int, *rest) -> None:
        if after or shard != stop_at:
            write(writer, shard, *rest)
        if shard == stop_at:
            (folder / f"unfinished/{shard:06d}.json").unlink(missing_ok=True)
            raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(FolderWriter, "write", partialmethod(stopping))
        with pytest.raises(Killed):
            run(folder)


def test_a_stopped_run_ends_with_the_same_statistics(
    model: Model, corpus: Corpus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = partial(extract_in_shards, model, corpus, statistics=ALL)
    run(tmp_path / "undisturbed")
    stop_in_shard(run, tmp_path / "stopped", monkeypatch, stop_at=2, after=False)
    stop_in_shard(run, tmp_path / "stopped", monkeypatch, stop_at=5, after=True)
    with pytest.raises(StoreError, match="unfinished"):
        open_store(tmp_path / "stopped")
    run(tmp_path / "stopped")
    assert hash_files(tmp_path / "stopped") == hash_files(tmp_path / "undisturbed")


def test_shards_of_a_run_that_did_not_gather_are_read_back(
    model: Model, corpus: Corpus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Also what was damaged, and what was gathered with other settings."""
    run = partial(extract_in_shards, model, corpus)
    expected = run(statistics=ALL).statistics()
    folder = tmp_path / "store"
    stop_in_shard(run, folder, monkeypatch, stop_at=3, after=False)
    others = partial(run, statistics=Gathering(sample_words=9))
    stop_in_shard(others, folder, monkeypatch, stop_at=5, after=False)
    gathered = partial(run, statistics=ALL)
    stop_in_shard(gathered, folder, monkeypatch, stop_at=7, after=False)
    damaged = folder / f"unfinished/000006.{STATISTICS}"
    damaged.write_bytes(damaged.read_bytes()[:-3])
    with caplog.at_level(logging.WARNING, logger="lca_jax"):
        found = gathered(folder).statistics()
    check_same(found, expected)
    assert "statistics of shard 6 (breaks its format" in caplog.text
    assert "statistics of shard 4 (was gathered with other settings) are gathered again" in caplog.text


def test_a_whole_store_is_read_once_for_what_it_has_not(model: Model, corpus: Corpus, tmp_path: Path) -> None:
    run = partial(extract_in_shards, model, corpus, tmp_path / "store")
    run()
    found = run(statistics=ALL).statistics()
    check_same(found, extract_in_shards(model, corpus, statistics=ALL).statistics())

    shard = tmp_path / "store/residual/c/1/0/0"
    content = shard.read_bytes()
    shard.write_bytes(content[:40] + bytes([content[40] ^ 1]) + content[41:])
    assert run(statistics=ALL).statistics().to_bytes() == found.to_bytes(), "no shard is read again"
    with pytest.raises(StoreError, match="residual/c/1/0/0 was altered"):
        run(statistics=Gathering(covariance=False))
    shard.write_bytes(content)
    assert run(statistics=Gathering(covariance=False)).statistics().covariances is None


def test_bad_settings_and_values_leave_no_statistics(model: Model, corpus: Corpus, tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"No labels for the task 'upos'\. Its tasks: length"):
        extract(model, corpus, tmp_path / "none", statistics=Gathering(tasks=["upos"]))
    assert not (tmp_path / "none").exists()
    scale = np.ones((3, 32), np.float32)
    scale[1, 4] = np.nan
    broken = {"residual": Edit(scale=scale, shift=np.zeros_like(scale))}
    with pytest.raises(DataError, match="layer 1 of `residual` is not at"):
        extract(model, corpus, tmp_path / "broken", edits=broken, statistics=ALL)
    assert not (tmp_path / "broken" / STATISTICS).exists()


@pytest.mark.slow
def test_a_job_of_two_processes_gathers_once(model: Model, tmp_path: Path) -> None:
    settings = ", statistics=__import__('lca_jax').Gathering()"
    job = start_job(model, tmp_path / "store", 2, odd=settings, usual=settings)
    codes, said = end_job(job)
    assert codes == [0, 0], said
    store = open_store(tmp_path / "store")
    check_against_numpy(store.statistics(), store)
    check_same(store.statistics(), gather_statistics(store))
