"""Runs and studies that are killed again and again, at writes all over their steps, end with the results of others.

Each child is forked from a process that has imported everything, and dies a real death (no handler runs) just before
one of its writes. Writes of arrays go past Python; kills inside an extraction have tests of their own (`test_jobs`).
"""

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from lca_jax import load_probes
from lca_jax.cli.show import show
from lca_jax.errors import LcaError
from lca_jax.machine.checksums import checksums_in
from tests.experiment.files import write_conllu
from tests.processes import ROOT
from tests.tiny_bert import write_bert

KILLS = int(os.environ.get("LCA_JAX_KILLS", "3"))
"""Number of times that a run, and a study, is killed at least. Each takes some ten seconds of one core."""
KILL_AND_RESUME = """
import os, sys
from pathlib import Path
import jax
jax.config.update("jax_platforms", "cpu")
jax.config.update("jax_compilation_cache_dir", sys.argv[5])
jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
from lca_jax import ElasticNet, Experiment, Study, run
from lca_jax.experiment.study import study

what, base, texts, folders = sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3]), int(sys.argv[4])
EVENTS = {"os.rename", "os.remove", "os.rmdir", "os.mkdir", "shutil.rmtree"}
read = {"model": str(texts / "bert"), "train": texts / "train.conllu", "dev": texts / "dev.conllu"}
probe = ElasticNet(l1=(1e-3, 1e-2), l2=1e-2)


def work(out):
    if what == "run":
        settings = {"test": texts / "test.conllu", "fractions": (0.25,), "draws": 2}
        run(Experiment(**read, **settings, out=out, tasks=("upos", "feats:Number"), probe=probe))
    else:
        study(Study(**read, out=out, tasks=("upos", "feats:Number"), probe=probe))


def try_once(out, number):
    '''Works in a child that dies before a write; returns how many writes it came to, and whether it died.'''
    reading, writing = os.pipe()
    if (child := os.fork()) == 0:
        count = 0

        def watch(event, arguments):
            nonlocal count
            if event in EVENTS or (event == "open" and (arguments[2] or 0) & (os.O_WRONLY | os.O_RDWR)):
                if str(arguments[0]).startswith(str(out)) or not os.path.isabs(str(arguments[0])):
                    count += 1
                    if count > number:
                        os._exit(9)

        sys.addaudithook(watch)
        work(out)
        os.write(writing, str(count).encode())
        os._exit(0)
    os.close(writing)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    said = os.read(reading, 100)
    os.close(reading)
    assert code in (0, 9), code
    return int(said or number), code == 9


whole, _ = try_once(base / "undisturbed", 10**9)
kills = 0
for folder in range(folders):
    number = whole * (2 * folder + 1) // (2 * folders)
    while True:
        _, died = try_once(base / f"killed{folder}", number)
        if not died:
            break
        kills += 1
        # Later tries have less to do: they die ever sooner, until one comes to the end.
        number = number // 2 if kills % 3 else 10**9
print(whole, kills)
"""


def results_of(folder: Path) -> Mapping[str, object]:
    """Everything that a run or a study leaves, without seconds and what holds them."""
    files = {name: sum_ for name, sum_ in checksums_in(folder).items() if name.startswith(("rankings", "tasks"))}
    results = folder / "results.json"
    told = {**json.loads(results.read_text()), "seconds": 0, "date": 0, "command": 0} if results.exists() else None
    probes = load_probes(folder / "probes")
    return {"files": files, "results": told, "probes": [(probe.task, probe.weights.tobytes()) for probe in probes]}


@pytest.mark.slow
@pytest.mark.parametrize("what", ["run", "study"])
def test_what_is_killed_at_any_write_ends_with_the_same_results(what: str, tmp_path: Path) -> None:
    texts = tmp_path / "texts"
    texts.mkdir()
    write_bert(texts / "bert")
    for seed, (part, sentences) in enumerate({"train": 30, "dev": 10, "test": 10}.items()):
        write_conllu(texts / f"{part}.conllu", sentences, seed=seed)
    base = tmp_path / "base"
    base.mkdir()
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    folders = -(-KILLS * 8 // 15)  # two kills or more in each
    arguments = [what, str(base), str(texts), str(folders), str(tmp_path / "compiled")]
    done = subprocess.run(
        [sys.executable, "-c", KILL_AND_RESUME, *arguments],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    writes, kills = map(int, done.stdout.split())
    assert writes > 20
    assert kills >= KILLS
    undisturbed = results_of(base / "undisturbed")
    for folder in sorted(base.glob("killed*")):
        assert results_of(folder) == undisturbed, folder.name
        assert not [path for path in folder.rglob("*") if ".unfinished" in path.name or path.name.startswith(".lock")]
        if what == "run":
            show(str(folder), verify=True)
    with pytest.raises(LcaError):
        show(str(tmp_path))
