"""Probes of several processes that make one JAX runtime: the same weights as of one, each reading its own words."""

from pathlib import Path

import numpy as np
import pytest

from lca_jax import ElasticNet, fit_probes, load_probes, open_store
from lca_jax.demo import demo_corpus_file
from lca_jax.probing.matrix.sizes import fine_size
from tests.experiment.files import write_heads
from tests.processes import run_processes
from tests.stores import write_planted_store
from tests.tiny_bert import write_bert

pytestmark = pytest.mark.slow
NET = ElasticNet(l1=(1e-3, 5e-3), l2=1e-2)
SCRIPT = """
import numpy as np
from lca_jax import ElasticNet, fit_probes, open_store
from lca_jax.store.store import ActivationStore
store, out, options = open_store(sys.argv[5]), sys.argv[6], eval(sys.argv[7])
read = []
whole = ActivationStore.matrix
def matrix(self, rows=None, **choice):
    read.extend(range(self.word_count) if rows is None else np.asarray(rows).tolist())
    return whole(self, rows, **choice)
ActivationStore.matrix = matrix
probes = fit_probes(store, ElasticNet(l1=(1e-3, 5e-3), l2=1e-2), **options)
np.savez(f"{out}/{number}.npz", *[probe.weights for probe in probes])
print(len(set(read)), *[probe.iterations for probe in probes])
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A planted store on disk, of a number of words that no number of devices divides."""
    return write_planted_store(tmp_path_factory.mktemp("hosts") / "store", words=301)


@pytest.mark.parametrize(
    ("processes", "devices", "options"),
    [(2, 2, {"stream": False}), (4, 1, {"stream": False}), (2, 1, {"stream": True}), (2, 2, {"split_over": 2})],
)
def test_processes_share_the_words_and_find_the_same_weights(
    folder: Path, tmp_path: Path, processes: int, devices: int, options: dict
) -> None:
    store = open_store(folder)
    alone = fit_probes(store, NET, stream=options.get("stream"))
    arguments = [str(folder), str(tmp_path), repr(options)]
    printed = run_processes(SCRIPT, arguments, count=processes, devices=devices)
    for number, text in enumerate(printed):
        read, *iterations = map(int, text.splitlines()[-1].split())
        padded = fine_size(store.word_count, multiple_of=processes * devices)
        assert read <= padded / processes + processes * devices, "each reads its own words, and padding"
        assert iterations == [probe.iterations for probe in alone]
        found = list(np.load(tmp_path / f"{number}.npz").values())
        assert len(found) == len(alone)
        for one, probe in zip(found, alone, strict=True):
            # Sums over the words in another order, through all iterations.
            assert np.abs(one - probe.weights).max() < 5e-5


LITTLE_MEMORY = """
import logging
from lca_jax import ElasticNet, fit_probes, open_store
from lca_jax.machine import devices as own_devices
own_devices.available_bytes = lambda: 10**4 if number == 1 else 10**12
logging.getLogger("lca_jax.probing").setLevel("INFO")
logging.getLogger("lca_jax.probing").addHandler(logging.StreamHandler(sys.stdout))
probes = fit_probes(open_store(sys.argv[5]), ElasticNet(l1=5e-3, l2=1e-2), control=False)
print(f"{probes.one('upos').objective:.6f}")
"""


def test_processes_with_unequal_memory_decide_alike(folder: Path) -> None:
    """Did one hold X and the other read it in blocks, each would wait for the other in another program."""
    printed = run_processes(LITTLE_MEMORY, [str(folder)], count=2, devices=1)
    alone = fit_probes(open_store(folder), ElasticNet(l1=5e-3, l2=1e-2), control=False).one("upos")
    for text in printed:
        assert "301 words of 24 neurons" in text
        assert "of 0.00 GB free: read in blocks at every iteration" in text
        assert float(text.splitlines()[-1]) == pytest.approx(alone.objective, abs=2 * alone.duality_gap)


LATE_FILE = """
import numpy as np
from lca_jax.probing import kept_answers
from lca_jax.probing.problems import Answer, Question
labels, every = np.zeros(3, np.int32), np.ones(2, bool)
questions = [Question(labels, None, 2, l1, 0.0, every) for l1 in (0.1, 0.2, 0.3)]
one, numbers = np.ones(1), np.ones((1, 2, 2), np.float32)
answer = Answer(
    weights=numbers, bias=numbers[0], objective=one, duality_gap=one, null_objective=1.0, iterations=np.ones(1, int),
    converged=one > 0,
)
kept = kept_answers.KeptAnswers.at(sys.argv[5], "key")
batch = kept.to(questions)
for place in (0, 2):
    batch.keep(place, answer)
print(sorted(kept.to(questions).known))
read = kept_answers.read_file
if number == 1:
    kept_answers.read_file = lambda folder, name: None if name == batch.names[2] else read(folder, name)
print(sorted(kept.to(questions).known))
"""


def test_an_answer_that_one_process_cannot_read_is_known_to_none(tmp_path: Path) -> None:
    """Else one would solve a problem that the other has solved, and wait for it."""
    for text in run_processes(LATE_FILE, [str(tmp_path)], count=2, devices=1):
        assert text.splitlines()[-2:] == ["[0, 2]", "[0]"]


IN_STEP = """
from lca_jax.errors import SettingsError
from lca_jax.machine.devices import in_equal_stretches, joint_mesh
from lca_jax.probing.matrix.held import hold_matrix
from lca_jax.probing.matrix.source import MatrixSource
from lca_jax.probing.matrix.streamed import stream_matrix
source = MatrixSource(12, 6, lambda first, target: target.fill(1), in_step=True)
print([in_equal_stretches(joint_mesh(parts)) for parts in (1, 2, 3, 6)])
for make in (hold_matrix, stream_matrix):
    try:
        make(source, standardize=True, split_over=3)
    except SettingsError as error:
        print(error)
"""


def test_processes_that_read_in_step_read_equally_often() -> None:
    for text in run_processes(IN_STEP, [], count=3, devices=2):
        equal, *refused = text.splitlines()[-3:]
        assert equal == "[True, True, False, True]"
        assert len(refused) == 2
        assert all("columns split over 3 devices" in message for message in refused)


STUDY = """
from pathlib import Path
from lca_jax.experiment.config import Study
from lca_jax.experiment.study import study
from lca_jax.probing.objective import ElasticNet
model, train, dev, out, options = sys.argv[5:10]
files = {"train": Path(train), "dev": Path(dev), "out": Path(out)}
settings = Study(model=model, **files, probe=ElasticNet(l1=1e-2, l2=1e-2), **eval(options))
print(*[f"{probe.objective:.6f}" for probe in study(settings)])
"""


@pytest.mark.parametrize(
    ("task", "options"),
    [
        ("upos", {"max_train_per_class": 40, "layers": (1, 2)}),
        ("deprel", {"heads": "head"}),
        ("upos", {"layers": (1,), "stored": False}),
        ("upos", {"layers": (1,), "stored": False, "split_model": 2, "stream": True, "max_train_per_class": 20}),
    ],
)
def test_a_study_of_two_processes_is_that_of_one(tmp_path: Path, task: str, options: dict) -> None:
    """In the last study both run one model, split over them, whenever X is read."""
    model = str(write_bert(tmp_path / "bert"))
    files = [str(write_heads(tmp_path / f"{part}.conllu", demo_corpus_file(part))) for part in ("test", "dev")]
    asked, found = {"tasks": (task,), **options}, []
    for count in (1, 2):
        out = tmp_path / f"by{count}"
        of_job = asked | {"split_model": min(count, options.get("split_model", 1))}
        printed = run_processes(STUDY, [model, *files, str(out), repr(of_job)], count=count, devices=1)
        assert len({text.splitlines()[-1] for text in printed}) == 1
        found.append([float(part) for part in printed[0].splitlines()[-1].split()])
        assert load_probes(out / "probes").one(task).converged
        assert (out / f"rankings/{task}.csv").read_text().count("\n") > 10
    np.testing.assert_allclose(found[1], found[0], atol=2e-4)
