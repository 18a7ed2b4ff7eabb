"""What can befall a store, while it is written and after: bits, second writers, kills, full disks, lost folders."""

import json
import os
import re
import resource
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from lca_jax.cli.show import show
from lca_jax.errors import StoreError
from lca_jax.machine.folders import open_folder, reaching
from lca_jax.store import lock
from lca_jax.store.folder_writer import FolderWriter, find_finished
from lca_jax.store.lock import Heartbeat
from lca_jax.store.manifest import Manifest
from lca_jax.store.store import open_store
from tests.store.writing import CORPUS, RECIPE, hash_files, write_shard, write_store

NAMES = {"model": "none", "tokenizer": "none"}


@pytest.fixture
def whole(tmp_path: Path) -> Path:
    write_store(tmp_path / "whole")
    return tmp_path / "whole"


def flip(file: Path, bit: int) -> None:
    content = bytearray(file.read_bytes())
    content[bit // 8] ^= 1 << bit % 8
    file.write_bytes(content)


def test_one_flipped_bit_anywhere_is_found_and_named(whole: Path, capsys: pytest.CaptureFixture[str]) -> None:
    generator = np.random.default_rng(0)
    names = sorted(hash_files(whole))
    assert {name.split("/")[-1] for name in names} == {"0", "manifest.json", "words.parquet", "zarr.json"}
    for name in names:
        file = whole / name
        bits = 8 * file.stat().st_size
        for bit in (0, bits - 1, *generator.integers(0, bits, 4).tolist()):
            flip(file, bit)
            with pytest.raises(StoreError, match=re.escape(name)):
                show(str(whole), verify=True)
            flip(file, bit)
    show(str(whole), verify=True)
    assert "every checksum right" in capsys.readouterr().out


def test_every_bit_of_the_manifest_counts(whole: Path) -> None:
    text = (whole / "manifest.json").read_bytes()
    assert Manifest.from_text(text, place="here").to_text().encode() == text
    for place in range(len(text)):
        altered = bytearray(text)
        altered[place] ^= 1 << place % 8
        with pytest.raises(StoreError, match=r"here/manifest\.json|here has format"):
            Manifest.from_text(bytes(altered), place="here")


THREADS_OF_READING = """
import os, sys
from lca_jax.store.store import open_store

threads = []

def watch(frame, event, _):
    if event in ("call", "return") and "pyarrow" in frame.f_code.co_filename:
        threads.append(set(os.listdir("/proc/self/task")))

sys.setprofile(watch)
open_store(sys.argv[1])
sys.setprofile(None)
print(len(threads) > 1, len(threads[-1] - threads[0]))
"""


@pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="this system does not list the threads of a process")
def test_opening_leaves_no_thread_that_holds_python_memory_when_python_ends(whole: Path) -> None:
    command = [sys.executable, "-c", THREADS_OF_READING, str(whole)]
    assert subprocess.run(command, check=True, capture_output=True, text=True).stdout.split() == ["True", "0"]


def test_a_bit_that_flips_after_opening_is_found(whole: Path) -> None:
    store = open_store(whole)
    flip(whole / "manifest.json", 1000)
    with pytest.raises(StoreError, match=r"manifest\.json"):
        store.verify()


def test_altered_description_of_an_array_is_refused_on_opening(whole: Path) -> None:
    described = whole / "residual/zarr.json"
    described.write_text(described.read_text().replace('"little"', '"big"   '))
    with pytest.raises(StoreError, match=r"residual/zarr\.json was altered"):
        open_store(whole)


def test_the_second_writer_hears_who_holds_the_folder(tmp_path: Path) -> None:
    first = FolderWriter(tmp_path / "store", RECIPE)
    who = rf"store is being written by process {os.getpid()} on {re.escape(socket.gethostname())}, since 20\d\d-"
    with pytest.raises(StoreError, match=who):
        FolderWriter(tmp_path / "store", RECIPE)
    first.close()
    with FolderWriter(tmp_path / "store", RECIPE) as second:
        for shard in sorted(second.missing):
            write_shard(second, RECIPE, shard)
        second.finish(CORPUS, NAMES)
    assert not (tmp_path / "store/unfinished").exists()
    with pytest.raises(StoreError, match="is whole already"):
        FolderWriter(tmp_path / "store", RECIPE)


def test_what_a_killed_process_leaves_does_not_block(tmp_path: Path) -> None:
    program = (
        "import sys, time\n"
        "from lca_jax.store.folder_writer import FolderWriter\n"
        "from tests.store.writing import RECIPE\n"
        "writer = FolderWriter(sys.argv[1], RECIPE)\nprint('held', flush=True)\ntime.sleep(600)"
    )
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2]), "JAX_PLATFORMS": "cpu"}
    child = subprocess.Popen(
        [sys.executable, "-c", program, str(tmp_path / "store")], env=environment, stdout=subprocess.PIPE
    )
    assert child.stdout is not None
    with child.stdout:
        assert child.stdout.readline() == b"held\n"
        with pytest.raises(StoreError, match=f"by process {child.pid} on"):
            FolderWriter(tmp_path / "store", RECIPE)
        child.send_signal(signal.SIGKILL)
        child.wait()
    assert (tmp_path / "store/unfinished/lock-0").exists()
    FolderWriter(tmp_path / "store", RECIPE).close()


def test_a_new_job_waits_for_every_process_of_the_old_one(tmp_path: Path) -> None:
    FolderWriter(tmp_path / "store", RECIPE).close()
    with FolderWriter(tmp_path / "store", RECIPE, rank=3), pytest.raises(StoreError, match="is being written by"):
        FolderWriter(tmp_path / "store", RECIPE)
    with FolderWriter(tmp_path / "store", RECIPE), FolderWriter(tmp_path / "store", RECIPE, rank=3):
        pass


@pytest.fixture
def fast_heart(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lock, "BEAT_S", 0.05)
    monkeypatch.setattr(lock, "WATCH_S", 1.0)


@pytest.mark.usefixtures("fast_heart")
def test_a_heartbeat_tells_the_living_from_the_dead(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = open_folder(tmp_path)
    living = Heartbeat(folder, "lock-0")
    with pytest.raises(StoreError, match=f"is being written by process {os.getpid()} on"):
        Heartbeat(folder, "lock-0")
    living.check()
    living.release()
    assert not (tmp_path / "lock-0").exists()
    monkeypatch.setattr(lock, "BEAT_S", 3.0)
    suspended = Heartbeat(folder, "lock-0")
    monkeypatch.setattr(lock, "BEAT_S", 0.05)
    second = Heartbeat(folder, "lock-0")
    time.sleep(3.0)
    with pytest.raises(StoreError, match="taken over by another process"):
        suspended.check()
    second.check()  # a holder that comes back does not write over its successor
    suspended.release()
    second.release()
    assert not (tmp_path / "lock-0").exists()
    third = Heartbeat(folder, "lock-0")
    third.release()


@pytest.mark.usefixtures("fast_heart")
def test_a_holder_that_was_replaced_stops(tmp_path: Path) -> None:
    folder = open_folder(tmp_path)
    replaced = Heartbeat(folder, "lock-0")
    folder["lock-0"] = b'{"host": "elsewhere", "pid": 7, "since": "today"}'
    time.sleep(1)
    with pytest.raises(StoreError, match="taken over by another process"):
        replaced.check()
    replaced.release()
    assert (tmp_path / "lock-0").exists(), "the lock of another process is left alone"


def test_a_file_system_without_locks_has_a_heartbeat(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: int) -> None:
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr("fcntl.flock", refuse)
    with FolderWriter(tmp_path / "store", RECIPE):
        assert "beat" in json.loads((tmp_path / "store/unfinished/lock-0").read_text())
    write_store(tmp_path / "store")
    open_store(tmp_path / "store").verify()


@contextmanager
def as_nobody() -> Iterator[None]:
    """Without the rights of root, who may write everywhere."""
    if (user := os.geteuid()) == 0:
        os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(user)


def test_a_folder_that_may_not_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "closed").mkdir(mode=0o500)
    with (
        as_nobody(),
        pytest.raises(StoreError, match=r"closed/store may not be (read|written) by this user: .*another"),
    ):
        FolderWriter(tmp_path / "closed/store", RECIPE)
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(
        StoreError, match=r"file/store cannot be (read|written to): .*See that the folder can be reached"
    ):
        FolderWriter(tmp_path / "file/store", RECIPE)


@contextmanager
def full_disk() -> Iterator[None]:
    """No file may grow beyond 300 bytes, which every shard, record and table does."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (300, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.parametrize("shards_before", range(5))
def test_a_full_disk_stops_the_run_and_spoils_nothing(whole: Path, tmp_path: Path, shards_before: int) -> None:
    store = tmp_path / "store"
    with FolderWriter(store, RECIPE) as writer:
        for shard in range(shards_before):
            write_shard(writer, RECIPE, shard)
        with (
            full_disk(),
            pytest.raises(StoreError, match=r"store is full: .*File too large.*Make room .*last whole shard"),
        ):
            write_all(writer)
    assert find_finished(store, RECIPE) is None
    with FolderWriter(store, RECIPE) as writer:
        assert writer.missing == set(range(shards_before, 4))
    write_store(store)
    assert hash_files(store) == hash_files(whole)


@pytest.mark.parametrize(
    ("said", "meant"),
    [
        ("RESOURCE_EXHAUSTED: Failed to write: No space left on device [os_error_code='28']", "is full: .*Make room"),
        ("PERMISSION_DENIED: Failed to open: Read-only file system [os_error_code='30']", "may not be written by"),
        ("PERMISSION_DENIED: Access Denied [http_response_code='403']", "may not be written by .*credentials"),
        (
            "UNKNOWN: Failed to open: Stale file handle [os_error_code='116']",
            "cannot be written to: .*start the same command",
        ),
        ("UNAVAILABLE: Connection refused [http_response_code='0']", "cannot be written to: .*can be reached"),
    ],
)
def test_what_the_system_says_is_told_with_the_way_out(tmp_path: Path, said: str, meant: str) -> None:
    with pytest.raises(StoreError, match=f"{tmp_path} {meant}") as told, reaching(open_folder(tmp_path), writing=True):
        raise ValueError(said)
    assert "[" not in str(told.value).removeprefix(str(tmp_path))


def test_a_folder_that_vanishes_stops_the_run(whole: Path, tmp_path: Path) -> None:
    """As when a network path is unmounted: an empty folder, or none, is where the store was."""
    store = tmp_path / "store"
    with FolderWriter(store, RECIPE) as writer:
        write_shard(writer, RECIPE, 1)
        store.rename(tmp_path / "away")
        for _ in range(2):
            with pytest.raises(StoreError, match="no longer the folder that this run began in"):
                write_shard(writer, RECIPE, 2)
            store.mkdir(exist_ok=True)
        with pytest.raises(StoreError, match="no longer the folder"):
            writer.finish(CORPUS, NAMES)
    assert list(store.iterdir()) == []
    store.rmdir()
    (tmp_path / "away").rename(store)
    with FolderWriter(store, RECIPE) as writer:
        assert writer.missing == {0, 2, 3}
    write_store(store)
    assert hash_files(store) == hash_files(whole)


def damage_record(store: Path) -> None:
    (store / "unfinished/000001.json").write_bytes(b"")


def garble_record(store: Path) -> None:
    (store / "unfinished/000001.json").write_text('["no", "record"]')


def cut_shard(store: Path) -> None:
    shard = store / "residual/c/1/0/0"
    shard.write_bytes(shard.read_bytes()[:-7])


def lose_shard(store: Path) -> None:
    (store / "mlp/c/1/0/0").unlink()


@pytest.mark.parametrize("harm", [damage_record, garble_record, cut_shard, lose_shard])
def test_a_shard_that_is_not_whole_is_made_anew(whole: Path, tmp_path: Path, harm: Callable[[Path], None]) -> None:
    store = tmp_path / "store"
    with FolderWriter(store, RECIPE) as writer:
        for shard in (0, 1, 3):
            write_shard(writer, RECIPE, shard)
    harm(store)
    with FolderWriter(store, RECIPE) as writer:
        assert writer.missing == {1, 2}
    write_store(store)
    assert hash_files(store) == hash_files(whole)


def test_shards_that_vanish_before_the_end_are_told(tmp_path: Path) -> None:
    with FolderWriter(tmp_path / "store", RECIPE) as writer:
        for shard in sorted(writer.missing):
            write_shard(writer, RECIPE, shard)
        lose_shard(tmp_path / "store")
        with pytest.raises(StoreError, match=r"Shards \[1\] of .* are not whole"):
            writer.finish(CORPUS, NAMES)


def test_half_written_files_of_a_killed_run_leave_nothing(whole: Path, tmp_path: Path) -> None:
    store = tmp_path / "store"
    FolderWriter(store, RECIPE).close()
    for name in ("manifest.json", "words.parquet", "residual/c/0/0/0", "unfinished/000000.json"):
        (store / name).parent.mkdir(parents=True, exist_ok=True)
        (store / f"{name}.__lock").write_bytes(b"longer than its successor" * 10_000)
    write_store(store)
    assert hash_files(store) == hash_files(whole)


def test_links_inside_a_store_are_not_followed(whole: Path, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    (elsewhere / "deep").mkdir(parents=True)
    for file in ("precious", "deep/precious.__lock"):
        (elsewhere / file).write_text("keep")
    before = hash_files(elsewhere)
    (whole / "unfinished").symlink_to(elsewhere)
    assert find_finished(whole, RECIPE) is not None
    assert not (whole / "unfinished").is_symlink(), "the link itself is cleared away"
    for entry in ("residual", "unfinished"):
        begun = tmp_path / f"begun {entry}"
        begun.mkdir()
        (begun / entry).symlink_to(elsewhere)
        with pytest.raises(StoreError, match=r"is a link to|holds files that are not an activation store"):
            FolderWriter(begun, RECIPE)
    assert hash_files(elsewhere) == before


def test_a_store_may_lie_where_nobody_writes(whole: Path) -> None:
    """A whole store is opened, by `extract` too, without any file being touched."""
    (whole / "unfinished").mkdir()
    (whole / "unfinished/lock-0").write_text("{}")
    assert find_finished(whole, RECIPE) is not None
    assert not (whole / "unfinished").exists(), "what a run that was killed at its very end left"


def write_all(writer: FolderWriter) -> None:
    for shard in sorted(writer.missing):
        write_shard(writer, RECIPE, shard)
    writer.finish(CORPUS, NAMES)


def test_the_manifest_is_json_for_anyone(whole: Path) -> None:
    content = json.loads((whole / "manifest.json").read_text())
    assert re.fullmatch("[0-9a-f]{64}", content["checksum"])
