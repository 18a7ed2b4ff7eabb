"""Studies of several processes, of which one is killed at random moments: all end, and the next ones go on."""

import os
import random
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from lca_jax import load_probes
from lca_jax.machine.checksums import checksums_in
from tests.experiment.files import write_conllu
from tests.processes import ROOT
from tests.tiny_bert import write_bert

KILLS = int(os.environ.get("LCA_JAX_JOB_KILLS", "4"))
"""Number of times that a job loses a process, a multiple of four. Each costs a minute of two cores."""
LCA = "import jax; jax.config.update('jax_platforms', 'cpu'); from lca_jax.cli.main import main; main()"


def start(texts: Path, out: Path, processes: int) -> list[subprocess.Popen[str]]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    environment = {name: value for name, value in os.environ.items() if name != "XLA_FLAGS"}
    environment |= {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "XDG_CACHE_HOME": str(texts / "cache")}
    options = {
        "--model": texts / "bert",
        "--train": texts / "train.conllu",
        "--dev": texts / "dev.conllu",
        "--out": out,
        "--coordinator": address,
        "--processes": processes,
        "--join-timeout": 100,
    }
    command = [sys.executable, "-c", LCA, "study", "--join", "--quiet", "--probe.l1", "1e-3", "1e-2"]
    command += [str(part) for option in options.items() for part in option]
    return [
        subprocess.Popen(
            [*command, "--process", str(number)],
            env=environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        for number in range(processes)
    ]


def end(job: list[subprocess.Popen[str]]) -> list[tuple[int, str]]:
    try:
        return [(process.returncode, said) for process in job for _, said in [process.communicate(timeout=150)]]
    finally:
        for process in job:
            process.kill()


@pytest.mark.slow
@pytest.mark.parametrize("processes", [2, 4])
def test_a_job_that_loses_processes_ends_with_the_results_of_another(processes: int, tmp_path: Path) -> None:
    write_bert(tmp_path / "bert")
    write_conllu(tmp_path / "train.conllu", 200, seed=0)
    write_conllu(tmp_path / "dev.conllu", 40, seed=1)
    assert all(code == 0 for code, _ in end(start(tmp_path, tmp_path / "undisturbed", processes)))
    started = time.monotonic()
    assert all(code == 0 for code, _ in end(start(tmp_path, tmp_path / "compiled", processes)))
    usual_s = time.monotonic() - started
    generator = random.Random(processes)
    for kill in range(KILLS):
        out = tmp_path / f"out{kill // 4}"  # four kills in one folder, then it may end
        job = start(tmp_path, out, processes)
        time.sleep(generator.uniform(0.2, 1) * usual_s)
        killed = generator.randrange(processes)
        job[killed].send_signal(signal.SIGKILL)
        ended = end(job)
        for number, (code, said) in enumerate(ended):
            assert "Traceback" not in said, said
            if number != killed and code == 1:
                assert said.splitlines()[-1].startswith("lca: ")
                assert f"process {killed}" in said.lower(), said
            elif number != killed and code != 0:
                assert killed == 0, said
                assert "coordination service" in said
        if kill % 4 == 3:
            finished = end(start(tmp_path, out, processes))
            assert all(code == 0 for code, _ in finished), finished
            ours, theirs = (checksums_in(folder / "rankings") for folder in (out, tmp_path / "undisturbed"))
            assert ours == theirs
            for mine, other in zip(
                load_probes(out / "probes"), load_probes(tmp_path / "undisturbed/probes"), strict=True
            ):
                assert (mine.weights == other.weights).all()
