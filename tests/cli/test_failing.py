"""However the command ends, it is one line and an exit code: disks, pipes, signals, odd characters."""

import errno
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from lca_jax.cli.failing import Stopped, describe, stopped_by_signals
from lca_jax.cli.main import main
from lca_jax.errors import escape_controls
from lca_jax.machine.files import naming_place, write_text_whole
from tests.processes import ROOT

ENVIRONMENT = os.environ | {"PYTHONPATH": str(ROOT), "JAX_PLATFORMS": "cpu"}
LCA = [sys.executable, "-c", "from lca_jax.cli.main import main; main()"]
SLOW = """
import sys, time
import lca_jax.cli.show as command
from lca_jax.cli.main import main
def wait(*_, **__):
    print("ready", flush=True)
    time.sleep(600)
command.describe = wait
command._describe_run = wait
main(["show", sys.argv[1]])
"""


def lca(*arguments: str, **options: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*LCA, *arguments], env=ENVIRONMENT, text=True, check=False, **options)  # pyright: ignore[reportCallIssue, reportArgumentType]


@pytest.mark.parametrize("arguments", [["--help"], ["run", "--help"]])
def test_a_reader_that_leaves_early_is_no_error(arguments: list[str]) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    done = lca(*arguments, stdout=writing, stderr=subprocess.PIPE)
    os.close(writing)
    assert done.stderr == ""


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_output_that_is_full_or_closed_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{")
    with Path("/dev/full").open("w") as full:
        done = lca("--version", stdout=full, stderr=subprocess.PIPE)
    assert done.returncode in (0, 1)
    assert "Traceback" not in done.stderr
    closed = subprocess.run(
        ["sh", "-c", '"$@" >&-', "sh", *LCA, "--help"], env=ENVIRONMENT, capture_output=True, check=False
    )
    assert b"Traceback" not in closed.stderr


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_signals_end_in_one_line(tmp_path: Path, number: signal.Signals) -> None:
    (tmp_path / "config.json").write_text("{}")
    child = subprocess.Popen(
        [sys.executable, "-c", SLOW, str(tmp_path)],
        env=ENVIRONMENT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert child.stdout is not None
    assert child.stdout.readline() == "ready\n"
    time.sleep(0.1)
    child.send_signal(number)
    _, said = child.communicate(timeout=60)
    assert child.returncode == 128 + number
    assert said == f"lca: stopped by {number.name}. Start the same command again: it goes on from there.\n"


def test_handlers_of_signals_are_put_back() -> None:
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(Stopped), stopped_by_signals():
        signal.raise_signal(signal.SIGTERM)
    assert signal.getsignal(signal.SIGTERM) == before


@pytest.mark.parametrize(
    ("arguments", "place"),
    [
        (["show", "x" * 300], "x" * 300),
        (["show", "a\0b"], "a\\x00b"),
        (["show", "~nosuchuser/run"], "~nosuchuser"),
        (["run", "--model", "m", "--train", "t", "--test", "t", "--out", "y" * 300 + "/run"], "y" * 300),
        (["probe", "--run", "z" * 300], "z" * 300),
        (["convert", "w" * 300 + ".hdf5", "store"], "w" * 300),
        (["convert", "a.hdf5", "v\x1b[31m.json"], r"v\x1b[31m.json"),
        (["study", "--quiet", "--model", "m", "--train", "~nosuchuser/t", "--out", "o"], "~nosuchuser/t"),
    ],
)
def test_odd_paths_are_one_line(
    arguments: list[str],
    place: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit, match="1"):
        main(arguments)
    said = capsys.readouterr().err
    assert said.startswith("lca: ")
    assert said.count("\n") == 1, said
    assert place in said
    assert not any(character in said for character in "\x1b\0")


def test_a_full_disk_names_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left") as failed:
        write_text_whole(tmp_path / "result.json", "text")
    monkeypatch.undo()
    assert describe(failed.value).startswith(f"{tmp_path / 'result.json'}: No space left on device. Make room there")
    assert list(tmp_path.iterdir()) == []


def test_errors_of_libraries_that_write_for_us_name_the_file(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="No space left") as failed, naming_place(tmp_path):
        raise ValueError("RESOURCE_EXHAUSTED: writing [os_error_code='28']")
    assert failed.value.filename == str(tmp_path)
    with pytest.raises(ValueError, match="other"), naming_place(tmp_path):
        raise ValueError("other")


def test_too_little_memory_is_one_line() -> None:
    assert describe(MemoryError()).startswith("too little memory: none is left")


def test_control_characters_are_shown() -> None:
    assert escape_controls("a\x1b[31m\u202eb\ud800\n\tc") == "a\\x1b[31m\\u202eb\\ud800\n\tc"
