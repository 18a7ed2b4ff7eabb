"""What a command loads before it computes: help, usage errors and `lca show` load no framework."""

import json
import resource
import subprocess
import sys
from pathlib import Path

import pytest

from lca_jax import ElasticNet, Experiment
from lca_jax.cli.main import COMMANDS
from tests.stores import write_planted_store

HEAVY = ("jax", "jaxlib", "flax", "optax", "orbax", "transformers", "torch", "tensorstore", "pyarrow", "scipy")
LIST_HEAVY = f"""
print(*(name for name in {HEAVY!r} if name in sys.modules))
"""
CALL = """
import json, sys
from lca_jax.cli.main import main
for arguments in json.loads(sys.argv[1]):
    try:
        main(arguments)
    except SystemExit as end:
        print("exit", end.code)
"""


def run_python(script: str, *arguments: str) -> list[str]:
    """The lines that a script prints in a process of its own."""
    done = subprocess.run([sys.executable, "-c", script, *arguments], capture_output=True, text=True, check=True)
    return done.stdout.splitlines()


def processor_seconds(script: str) -> float:
    """Processor seconds of a process that runs a script: the least of three, since whatever else runs only adds."""
    tries = []
    for _ in range(3):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run([sys.executable, "-c", script], capture_output=True, check=False)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        tries.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    return min(tries)


def test_help_and_usage_errors_load_no_framework() -> None:
    helps = [["--help"], ["--version"], *([name, "--help"] for name in COMMANDS)]
    misuses = [[], ["shwo", "RUN"], ["run", "--modle", "bert"], ["convert"]]
    errors = [["show", "no/such/folder"], ["probe", "--run", "no/such/folder"], ["convert", "a.hdf5", "a.json"]]
    printed = run_python(CALL + LIST_HEAVY, json.dumps([*helps, *misuses, *errors]))
    codes = [int(line.removeprefix("exit ")) for line in printed if line.startswith("exit ")]
    assert codes == [0] * len(helps) + [2] * len(misuses) + [1] * len(errors)
    assert not printed[-1]


def test_show_loads_no_framework(tmp_path: Path) -> None:
    run = tmp_path / "run"
    write_planted_store(run / "activations" / "train", words=40)
    files = dict.fromkeys(("train", "dev", "test"), tmp_path / "words.conllu")
    experiment = Experiment(model="bert", out=run, probe=ElasticNet(l1=1e-3, l2=1e-3), **files)
    (run / "config.json").write_text(json.dumps(experiment.as_json()), encoding="utf-8")
    *_, described, loaded = run_python(CALL + LIST_HEAVY, json.dumps([["show", str(run)]]))
    assert described == "store train: 40 words, residual [0, 1, 2]"
    assert not loaded
    next((run / "activations" / "train").rglob("c/0/0/0")).write_bytes(b"")
    assert run_python(CALL, json.dumps([["show", str(run)]])) == ["exit 1"]


def test_the_settings_of_a_run_load_no_framework() -> None:
    names = "ElasticNet, Experiment, Study, Corpus, WordChoice, read_conllu"
    assert run_python(f"import sys; from lca_jax import {names}" + LIST_HEAVY) == [""]


@pytest.mark.parametrize(
    ("script", "limit_s"),
    [("import lca_jax", 0.2), ("from lca_jax.cli.main import main; main(['--help'])", 0.5)],
)
def test_processor_seconds(script: str, limit_s: float) -> None:
    # Half as much again, for a machine that does other things and shares its cores' caches with them.
    assert processor_seconds(script) < 1.5 * limit_s
