"""The processes of a job come together or say who is missing, and a lost one ends all, each in one line."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from typing import NamedTuple

import pytest

from lca_jax.errors import SettingsError
from lca_jax.machine.job import join_processes
from tests.processes import ROOT

SCRIPT = """
import sys, time
import jax
jax.config.update("jax_platforms", "cpu")
from lca_jax.cli.failing import ending_well
from lca_jax.errors import StoreError
from lca_jax.machine.job import ending_together, join_processes
from lca_jax.machine.processes import together

address, count, number, what, timeout_s = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), sys.argv[4], sys.argv[5]
with ending_well(debug=False):
    join_processes(address, count, number, timeout_s=float(timeout_s))
    print("joined", jax.process_count(), flush=True)
    with ending_together():
        if what == "fails" and number == count - 1:
            raise StoreError("its own message")
        if what == "fails together":
            with together("work"):
                if number == count - 1:
                    raise StoreError("its own message")
        while what in ("works", "fails"):
            with together("work"):
                time.sleep(0.01)
        if what == "sleeps":
            time.sleep(600)
"""


class Ended(NamedTuple):
    code: int
    said: str
    seconds: float


def free_address() -> str:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{free.getsockname()[1]}"


def start(what: str, numbers: Sequence[tuple[int, int]], *, timeout_s: float = 60) -> list[subprocess.Popen[str]]:
    """Processes of one job; each is given as its number and how many it expects."""
    address = free_address()
    environment = {name: value for name, value in os.environ.items() if name != "XLA_FLAGS"} | {"PYTHONPATH": str(ROOT)}
    return [
        subprocess.Popen(
            [sys.executable, "-c", SCRIPT, address, str(count), str(number), what, str(timeout_s)],
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for number, count in numbers
    ]


def end(job: Sequence[subprocess.Popen[str]]) -> list[Ended]:
    started = time.monotonic()
    ended = []
    for process in job:
        try:
            _, said = process.communicate(timeout=120)
        finally:
            process.kill()
        ended.append(Ended(process.returncode, said, time.monotonic() - started))
    return ended


def check_one_line(ended: Ended, *parts: str) -> None:
    assert ended.code == 1, ended.said
    assert ended.said.startswith("lca: "), ended.said
    assert ended.said.count("\n") == 1, ended.said
    for part in parts:
        assert part in ended.said


@pytest.mark.slow
def test_all_come_work_and_leave() -> None:
    assert [(ended.code, ended.said) for ended in end(start("leaves", [(0, 2), (1, 2)]))] == [(0, ""), (0, "")]


@pytest.mark.slow
def test_a_coordinator_that_never_comes_is_named() -> None:
    (alone,) = end(start("works", [(1, 2)], timeout_s=2))
    check_one_line(alone, "Process 1 of 2 did not reach process 0 at 127.0.0.1:", "Connection refused")
    assert alone.seconds < 30


@pytest.mark.slow
def test_a_process_that_never_comes_is_named_to_all() -> None:
    for ended in end(start("works", [(0, 3), (1, 3)], timeout_s=15)):
        check_one_line(ended, "Process 2 of 3 did not come to 127.0.0.1:", f"1 on {socket.gethostname()}")


@pytest.mark.slow
def test_a_wrong_count_and_a_number_given_twice_are_told_to_all() -> None:
    for ended in end(start("works", [(0, 2), (1, 4)])):
        check_one_line(ended, "expects 4 processes, process 0 expects 2")
    first, *others = end(start("works", [(0, 3), (1, 3), (1, 3)], timeout_s=60))
    check_one_line(first, "There are two processes 1: on")
    for ended in others:
        check_one_line(ended, "There are two processes 1: on")


@pytest.mark.slow
@pytest.mark.parametrize("what", ["works", "sleeps"])
@pytest.mark.parametrize("killed", [0, 1])
def test_a_killed_process_ends_all_in_one_line(what: str, killed: int) -> None:
    job = start(what, [(0, 2), (1, 2)])
    for process in job:
        assert process.stdout is not None
        assert process.stdout.readline() == "joined 2\n"
    time.sleep(0.5)
    job[killed].send_signal(signal.SIGKILL)
    other = end(job)[1 - killed]
    assert other.seconds < 15
    if killed == 0 and other.code != 1:  # the runtime, which lived in process 0, was faster than the watching thread
        assert "coordination service" in other.said
        return
    # JAX's own runtime may print a line of its own, before ours or after it.
    (line,) = [line for line in other.said.splitlines() if line.startswith("lca: ")]
    check_one_line(
        other._replace(said=f"{line}\n"),
        f"Process {killed} of 2 on {socket.gethostname()} was lost",
        "Start the same command in all",
    )
    # Where the main thread was waiting for the lost process, Python may also print where that was.
    assert what == "works" or "Traceback" not in other.said


@pytest.mark.slow
def test_a_job_that_is_asked_to_end_says_so() -> None:
    job = start("works", [(0, 2), (1, 2)])
    for process in job:
        assert process.stdout is not None
        assert process.stdout.readline() == "joined 2\n"
    for process in job:
        process.send_signal(signal.SIGTERM)
    for ended in end(job):
        assert ended.code in (1, 128 + signal.SIGTERM)
        assert ended.said.startswith("lca: ")
        assert "stopped by SIGTERM" in ended.said or "of 2" in ended.said


@pytest.mark.slow
def test_an_error_of_one_process_ends_all() -> None:
    first, last = end(start("fails", [(0, 2), (1, 2)]))
    check_one_line(last, "its own message")
    check_one_line(first, "Process 1 of 2", "failed; its own message says why")
    first, last = end(start("fails together", [(0, 2), (1, 2)]))
    check_one_line(last, "its own message")
    check_one_line(first, "Stopped, since process 1 of 2 failed (work)")


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (("host:1", 2, None), "together"),
        (("host", 2, 1), "must be host:port of the first process, got 'host'"),
        (("host:0", 2, 1), "must be host:port"),
        (("host:70000", 2, 1), "must be host:port"),
        (("host:1", 2, 2), "must be a number from 0 to 1, since `processes` is 2; got 2"),
        (("host:1", 0, 0), "must be a number from 0 to -1"),
    ],
)
def test_numbers_that_cannot_be_meant_are_refused(given: tuple[str, int | None, int | None], message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        join_processes(*given)
    with pytest.raises(SettingsError, match="must be greater than 0"):
        join_processes(timeout_s=float("nan"))


SLURM = """
import jax
jax.config.update("jax_platforms", "cpu")
from lca_jax.machine.job import join_processes
join_processes(timeout_s=60)
print(jax.process_index(), jax.process_count(), jax.config.values["jax_cuda_visible_devices"], flush=True)
"""


@pytest.mark.parametrize(
    ("seen", "expected"),
    [
        (("0", "0"), ("0", "0")),  # --gpus-per-task=1 with control groups
        (("2", "GPU-8b6ea72c"), ("0", "0")),  # the same without, and by names
        (("0,1", "0,1"), ("0", "1")),  # --gpus-per-node=2 without binding
        (("", ""), ("0", "1")),
    ],
)
def test_a_process_of_slurm_takes_the_gpu_that_it_sees(seen: tuple[str, str], expected: tuple[str, str]) -> None:
    names = ("SLURM", "JAX_", "CUDA", "XLA_FLAGS")
    plain = {name: value for name, value in os.environ.items() if not name.startswith(names)}
    job = []
    port = free_address().rpartition(":")[2]
    for number, devices in enumerate(seen):
        place = {"JOB_ID": "1", "STEP_NODELIST": "localhost", "NTASKS": "2", "PROCID": str(number)}
        place |= {"LOCALID": str(number), "STEP_NUM_NODES": "1"}
        environment = plain | {f"SLURM_{name}": value for name, value in place.items()}
        environment |= {"CUDA_VISIBLE_DEVICES": devices, "JAX_COORDINATOR_PORT": port, "PYTHONPATH": str(ROOT)}
        command = [sys.executable, "-c", SLURM]
        job.append(
            subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        )
    try:
        ended = [process.communicate(timeout=120) for process in job]
    finally:
        for process in job:
            process.kill()
    for number, (told, said) in enumerate(ended):
        assert told.split() == [str(number), "2", expected[number]], said
