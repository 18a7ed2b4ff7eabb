"""Files and folders written whole: killed between any two steps, a reader finds the old, the new, or nothing."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from lca_jax.errors import StoreError
from lca_jax.machine.files import remove_inside, write_text_whole, write_whole

ROOT = Path(__file__).parents[2]
SCRIPT = """
import os, sys
from pathlib import Path
from lca_jax.machine.files import write_whole

steps = int(sys.argv[2])
def count(function):
    def counted(*arguments, **keywords):
        global steps
        steps -= 1
        if steps < 0:
            os._exit(9)
        return function(*arguments, **keywords)
    return counted

os.fsync, os.replace, os.rename = count(os.fsync), count(os.replace), count(os.rename)
folder = Path(sys.argv[1])
with write_whole([folder / "first", folder / "second"], overwrite=True) as paths:
    for path in paths:
        path.write_text("new" * 1000)
"""


def names_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize("steps", range(7))
def test_killed_at_any_step_each_file_is_old_or_new(tmp_path: Path, steps: int) -> None:
    """Two syncs, then two renames, each followed by the sync of the folder."""
    for name in ("first", "second"):
        (tmp_path / name).write_text("old" * 1000)
    command = [sys.executable, "-c", SCRIPT, str(tmp_path), str(steps)]
    environment = os.environ | {"PYTHONPATH": str(ROOT), "JAX_PLATFORMS": "cpu"}
    ended = subprocess.run(command, env=environment, check=False)
    found = {name: (tmp_path / name).read_text()[:3] for name in ("first", "second")}
    assert all((tmp_path / name).read_text() == found[name] * 1000 for name in found)
    assert found["first"] == "old" or found["second"] == "new", "a reader that finds the first finds all of them"
    assert ended.returncode == (0 if found == dict.fromkeys(found, "new") and steps >= 6 else 9)
    with write_whole([tmp_path / "first", tmp_path / "second"], overwrite=True) as paths:
        for path in paths:
            path.write_text("again")
    assert names_in(tmp_path) == ["first", "second"], "the next run clears away what was left"


def write_half(path: Path) -> None:
    with write_whole([path]) as (unfinished,):
        unfinished.write_text("half")
        raise RuntimeError


def test_an_error_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError):
        write_half(tmp_path / "deep/file")
    assert names_in(tmp_path / "deep") == []


def test_what_is_there_stays_unless_overwritten(tmp_path: Path) -> None:
    (tmp_path / "there").write_text("old")
    (tmp_path / "folder").mkdir()
    paths = [tmp_path / "new", tmp_path / "there"]
    with pytest.raises(StoreError, match="there: there already, and nothing is overwritten"), write_whole(paths):
        pass
    with pytest.raises(StoreError, match="folder: there already"), write_whole([tmp_path / "folder"], overwrite=True):
        pass
    with pytest.raises(StoreError, match="must have different names"), write_whole([paths[0], paths[0]]):
        pass
    assert names_in(tmp_path) == ["folder", "there"]
    with write_whole(paths, overwrite=True) as unfinished:
        for path in unfinished:
            path.write_text("new")
    assert [path.read_text() for path in paths] == ["new", "new"]


def test_folders_are_written_whole_too(tmp_path: Path) -> None:
    left = tmp_path / ".result.unfinished"
    left.mkdir()
    (left / "old").write_text("of a killed run")
    with write_whole([tmp_path / "result"]) as (unfinished,):
        (unfinished / "inside").mkdir(parents=True)
        (unfinished / "inside/file").write_text("content")
        assert not (tmp_path / "result").exists()
    assert names_in(tmp_path) == ["result"]
    assert (tmp_path / "result/inside/file").read_text() == "content"
    assert names_in(tmp_path / "result") == ["inside"]


def test_links_are_not_followed(tmp_path: Path) -> None:
    """What a link of an unfinished name points at is left alone."""
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere/file").write_text("keep")
    (tmp_path / ".result.unfinished").symlink_to(tmp_path / "elsewhere")
    with write_whole([tmp_path / "result"]) as (unfinished,):
        unfinished.write_text("new")
    assert (tmp_path / "elsewhere/file").read_text() == "keep"
    assert (tmp_path / "result").read_text() == "new"


def test_names_may_come_one_by_one_and_all_are_checked_before_one_is_deleted(tmp_path: Path) -> None:
    for name in ("a", "b", "c"):
        (tmp_path / name).write_text("old")
    with pytest.raises(StoreError, match="is not inside"):
        remove_inside(tmp_path, (name for name in ("a", "../b")))
    assert names_in(tmp_path) == ["a", "b", "c"]
    remove_inside(tmp_path, (name for name in ("a", "b", "none")))
    assert names_in(tmp_path) == ["c"]


def test_text_with_lone_surrogates(tmp_path: Path) -> None:
    write_text_whole(tmp_path / "text", "é\ud800x\n")
    write_text_whole(tmp_path / "text", "é\ud800y\n")
    assert (tmp_path / "text").read_bytes() == "é?y\n".encode()
