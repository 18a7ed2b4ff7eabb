"""Extraction in processes of its own, alone and as a job of several: killed, started again, and stopped by an error."""

import time
from pathlib import Path

import pytest

from lca_jax.errors import StoreError
from lca_jax.extraction.extract import extract
from lca_jax.models.load import load_model
from lca_jax.models.model import Model
from lca_jax.store.folder_writer import FolderWriter
from lca_jax.store.store import open_store
from tests.extraction.corpora import draw_corpus
from tests.extraction.jobs import end_job, kill, start_job, start_process, wait_for
from tests.store.writing import hash_files
from tests.tiny_bert import write_bert


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Model:
    return load_model(write_bert(tmp_path_factory.mktemp("bert")))


@pytest.fixture(scope="module")
def undisturbed(model: Model, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What `start_process` must come to."""
    folder = tmp_path_factory.mktemp("undisturbed") / "store"
    extract(model, draw_corpus(2000), folder, shard_words=64, row_length=24)
    return folder


@pytest.mark.slow
def test_a_killed_process_leaves_what_can_be_gone_on_with(model: Model, undisturbed: Path, tmp_path: Path) -> None:
    killed = tmp_path / "killed"
    child = start_process(model.name, killed)
    wait_for(killed / "unfinished/000004.json", [child])
    kill([child])
    assert not (killed / "manifest.json").exists()
    extract(model, draw_corpus(2000), killed, shard_words=64, row_length=24)
    assert hash_files(killed) == hash_files(undisturbed)
    assert not (killed / "unfinished").exists()


def check_same_store(store: Path, undisturbed: Path) -> None:
    ours, theirs = hash_files(store), hash_files(undisturbed)
    differing = {name for name in ours.keys() | theirs.keys() if ours.get(name) != theirs.get(name)}
    assert differing == {"manifest.json"}, "the manifest tells how many processes there were"
    whole = open_store(store)
    whole.verify()
    assert whole.words.equals(open_store(undisturbed).words)


@pytest.mark.slow
@pytest.mark.parametrize("processes", [2, 4])
def test_many_processes_write_one_store(model: Model, undisturbed: Path, tmp_path: Path, processes: int) -> None:
    codes, said = end_job(start_job(model, tmp_path / "store", processes))
    assert codes == [0] * processes, said
    check_same_store(tmp_path / "store", undisturbed)


@pytest.mark.slow
@pytest.mark.parametrize("processes", [2, 4])
def test_a_job_of_which_one_was_killed_goes_on(model: Model, undisturbed: Path, tmp_path: Path, processes: int) -> None:
    """Every process has written something when one is killed; the scheduler then ends the others."""
    store, shards = tmp_path / "store", -(-draw_corpus(2000).word_count // 64)
    job = start_job(model, store, processes)
    for rank in range(processes):
        wait_for(store / f"unfinished/{shards * rank // processes:06d}.json", job)
    kill(job[1:2])
    kill(job[:1] + job[2:])
    with pytest.raises(StoreError, match="unfinished"):
        open_store(store)
    with FolderWriter(store, open_store(undisturbed).manifest.recipe) as writer:
        assert 0 < len(writer.missing) < shards
    codes, said = end_job(start_job(model, store, processes))
    assert codes == [0] * processes, said
    check_same_store(store, undisturbed)


@pytest.mark.slow
def test_an_error_of_one_process_ends_the_whole_job(model: Model, tmp_path: Path) -> None:
    started = time.monotonic()
    codes, said = end_job(start_job(model, tmp_path / "store", 2, odd=", pool='mean'"))
    assert codes == [1, 1]
    assert "pool: the store has 'last', requested 'mean'" in said[1]
    assert "Stopped, since process 1 of 2 failed (opening the folder)" in said[0]
    assert time.monotonic() - started < 120, "nobody waits in vain"
