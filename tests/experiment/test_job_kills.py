"""Studies of several processes, of which one is killed at random moments: all end, and the next ones go on."""

import os
import random
import signal
import socket
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest

from lca_jax import load_probes
from lca_jax.machine.checksums import checksums_in
from lca_jax.probing.kept_answers import ANSWERS
from tests.experiment.files import write_conllu
from tests.processes import ROOT
from tests.tiny_bert import write_bert

KILLS = int(os.environ.get("LCA_JAX_JOB_KILLS", "2"))
"""Number of times that a job loses a process, an even one. Each costs half a minute of two cores."""
LCA = "import jax; jax.config.update('jax_platforms', 'cpu'); from lca_jax.cli.main import main; main()"


def start(texts: Path, out: Path, processes: int, *more: str) -> list[subprocess.Popen[str]]:
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
    command = [sys.executable, "-c", LCA, "study", "--join", "--quiet", *more]
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
@pytest.mark.parametrize(
    ("processes", "more"),
    [
        (3, ()),
        pytest.param(
            2,
            ("--split-model", "2"),
            marks=pytest.mark.skipif(
                "LCA_JAX_JOB_KILLS" not in os.environ,
                reason="takes two minutes more: set LCA_JAX_JOB_KILLS. test_split_processes has such kills too",
            ),
        ),
    ],
)
def test_a_job_that_loses_processes_ends_with_the_results_of_another(
    tmp_path: Path, processes: int, more: tuple[str, ...]
) -> None:
    options = ("--probe.l1", "1e-3", "1e-2", *more)
    write_bert(tmp_path / "bert")
    write_conllu(tmp_path / "train.conllu", 100, seed=0)
    write_conllu(tmp_path / "dev.conllu", 20, seed=1)
    started = time.monotonic()
    assert all(code == 0 for code, _ in end(start(tmp_path, tmp_path / "undisturbed", processes, *options)))
    usual_s = time.monotonic() - started
    generator = random.Random(processes)
    for kill in range(KILLS):
        out = tmp_path / f"out{kill // 2}"  # two kills in one folder, then it may end
        job = start(tmp_path, out, processes, *options)
        time.sleep(generator.uniform(0.2, 0.8) * usual_s)
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
        if kill % 2 == 1:
            finished = end(start(tmp_path, out, processes, *options))
            assert all(code == 0 for code, _ in finished), finished
            ours, theirs = (checksums_in(folder / "rankings") for folder in (out, tmp_path / "undisturbed"))
            assert ours == theirs
            for mine, other in zip(
                load_probes(out / "probes"), load_probes(tmp_path / "undisturbed/probes"), strict=True
            ):
                assert (mine.weights == other.weights).all()


@pytest.mark.slow
def test_a_job_that_is_killed_while_it_solves_solves_the_rest(tmp_path: Path) -> None:
    write_bert(tmp_path / "bert")
    for seed, part in enumerate(("train", "dev")):
        write_conllu(tmp_path / f"{part}.conllu", 60, seed=seed)
    grid = ("--probe.l1", "1e-4", "3e-4", "1e-3", "3e-3", "1e-2", "3e-2", "--probe.l2", *map(str, (1e-3, 1e-2, 0.1, 1)))
    problems = 2 * 6 * 4 + 1
    answers = tmp_path / "out" / ANSWERS
    job = start(tmp_path, tmp_path / "out", 2, *grid)
    deadline = time.monotonic() + 150
    while len(list(answers.glob("*.safetensors"))) < 5:
        assert time.monotonic() < deadline
        time.sleep(0.002)
    job[1].send_signal(signal.SIGKILL)
    end(job)
    solved = {file.name: file.stat().st_mtime_ns for file in answers.glob("*.safetensors")}
    assert 5 <= len(solved) < problems, "the job was killed too late for this test"
    again = start(tmp_path, tmp_path / "out", 2, *grid)
    found: dict[str, int] = {}
    while any(process.poll() is None for process in again):
        assert time.monotonic() < deadline + 150
        with suppress(FileNotFoundError):
            found |= {file.name: file.stat().st_mtime_ns for file in answers.glob("*.safetensors")}
        time.sleep(0.002)
    assert all(code == 0 for code, _ in end(again))
    assert {name: found[name] for name in solved} == solved, "what was solved is not solved again"
    assert not answers.exists()
    assert len(load_probes(tmp_path / "out/probes")) == 2
    assert all(probe.converged for probe in load_probes(tmp_path / "out/probes"))
    rankings = checksums_in(tmp_path / "out/rankings")
    assert all(code == 0 for code, _ in end(start(tmp_path, tmp_path / "out", 2, *grid))), "a finished job is read"
    assert checksums_in(tmp_path / "out/rankings") == rankings
