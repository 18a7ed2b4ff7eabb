"""Extraction that does not end: stopped by an exception, or in other processes that are killed."""

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

from lca_jax.models.model import Model


class Killed(Exception):  # noqa: N818 - stands in for a signal
    """Ends a run in this process at the place where a test raises it."""


JOIN = {
    "by the package": "from lca_jax.machine.job import join_processes; join_processes('{}', {}, {})",
    "by JAX": "jax.distributed.initialize('{}', {}, {})",
    "by JAX, soon": "jax.distributed.initialize('{}', {}, {}, heartbeat_timeout_seconds=10)",
}
"""How the processes of a job come together; in the package's own way they watch each other besides."""


def start_process(
    *arguments: str | Path, before: str = "", settings: str = "", split_over: int = 1
) -> subprocess.Popen[bytes]:
    """Another process that extracts 2,000 drawn sentences in shards of 64 words: model folder, store folder."""
    program = (
        f"import sys, jax\njax.config.update('jax_platforms', 'cpu')\n{before}\n"
        "from lca_jax import extract, load_model\nfrom tests.extraction.corpora import draw_corpus\n"
        f"model = load_model(sys.argv[1], split_over={split_over})\n"
        f"extract(model, draw_corpus(2000), sys.argv[2], shard_words=64, row_length=24{settings})"
    )
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])}
    return subprocess.Popen(
        [sys.executable, "-c", program, *map(str, arguments)], env=environment, stderr=subprocess.PIPE
    )


def start_job(
    model: Model,
    store: Path,
    processes: int,
    *,
    usual: str = "",
    odd: str = "",
    split_over: int = 1,
    join: str = JOIN["by JAX"],
) -> list[subprocess.Popen[bytes]]:
    """The same as a job of several processes, the last of which may have settings of its own."""
    with socket.socket() as free:
        free.bind(("localhost", 0))
        address = f"localhost:{free.getsockname()[1]}"
    return [
        start_process(
            model.name,
            store,
            before=join.format(address, processes, rank),
            settings=odd if rank == processes - 1 else usual,
            split_over=split_over,
        )
        for rank in range(processes)
    ]


def end_job(job: list[subprocess.Popen[bytes]]) -> tuple[list[int], list[str]]:
    """How each process ended, and what it said."""
    said = [child.communicate(timeout=200)[1].decode() for child in job]
    return [child.returncode for child in job], said


def kill(job: list[subprocess.Popen[bytes]]) -> None:
    for child in job:
        child.send_signal(signal.SIGKILL)
        child.communicate()


def wait_for(file: Path, job: list[subprocess.Popen[bytes]]) -> None:
    deadline = time.monotonic() + 120
    while not file.exists():
        assert all(child.poll() is None for child in job), "the run ended before it could be killed"
        assert time.monotonic() < deadline
        time.sleep(0.001)
