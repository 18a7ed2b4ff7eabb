"""Damage in any file that the package reads: the outcome is a value or an error of the package, never a traceback.

For each kind of file there is a folder as it is written, the files in it that are damaged, and the call that reads it.
Hypothesis flips, cuts, repeats and inserts bytes. The number of examples is small, so that the suite stays quick: raise
`EXAMPLES`, and let it draw at random, to search longer.
"""

import json
import shutil
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import jaxtyping
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lca_jax import ElasticNet, Experiment, load_model, load_probes, open_store
from lca_jax.cli.show import show
from lca_jax.errors import LcaError
from lca_jax.exchange.neurox.convert import read_neurox
from lca_jax.experiment.config import read_experiment
from lca_jax.experiment.folder import RunFolder, key_of
from lca_jax.gathering.gather import gather_statistics
from lca_jax.text.formats import read_corpus
from tests.experiment.files import write_conllu
from tests.neurox_files import SENTENCES as WORDS
from tests.neurox_files import draw_vectors, json_line, write_hdf5
from tests.probing.random_probes import probe_set
from tests.stores import write_planted_store
from tests.tiny_bert import write_bert

EXAMPLES = 15
ODD = [
    b"\0",
    b"\xff\xfe",
    b'"',
    b"{",
    b"]" * 3,
    b"[" * 5000,
    b"-1",
    b"1e999",
    b"NaN",
    b"9" * 4400,
    b"\n\n",
    b"\t",
    b"null",
]


class Kind(NamedTuple):
    """A kind of input: how its folder is made, which files are damaged, and how it is read."""

    write: Callable[[Path], object]
    files: str
    """Pattern of the files."""
    read: Callable[[Path], object]


def write_lines(name: str, text: str) -> Callable[[Path], object]:
    return lambda folder: (folder / name).write_text(text, encoding="utf-8")


def reads_corpus(name: str, *tasks: str) -> Callable[[Path], object]:
    return lambda folder: read_corpus(folder / name, tasks=tasks)


def write_run(folder: Path) -> None:
    files = dict.fromkeys(("train", "dev", "test"), folder / "words.conllu")
    experiment = Experiment(model="bert", out=folder, probe=ElasticNet(l1=1e-3, l2=1e-3), **files)
    (folder / "config.json").write_text(json.dumps(experiment.as_json()))
    entry = {"selectivity": 0.1, "accuracy": {"test": 0.9}, "majority": 0.5, "minimal": {"neurons": 3}}
    results = {"format": 1, "model": {"neurons": 9}, "tasks": {"upos": entry}, "seconds": {"probe": 1.0}}
    (folder / "results.json").write_text(json.dumps(results))
    RunFolder(folder).do("rank", key_of(1), ["results.json"], (folder / "results.json").touch)


def read_run(folder: Path) -> None:
    read_experiment(folder)
    RunFolder(folder).do("rank", key_of(1), ["results.json"], (folder / "results.json").touch)
    show(str(folder))


def write_neurox_json(folder: Path) -> None:
    vectors = draw_vectors()
    lines = [json_line(index, words, vectors[index]) for index, words in enumerate(WORDS)]
    (folder / "a.json").write_text("".join(lines), encoding="utf-8")


def write_store(folder: Path) -> None:
    write_planted_store(folder / "store", words=40)
    gather_statistics(open_store(folder / "store"))


def read_store(folder: Path) -> None:
    store = open_store(folder / "store")
    store.matrix()
    store.statistics()


TSV = "sentence\tlabel\na text of words\tX\nanother text of words\tY\n"
JSONL = '{"tokens": ["a", "b"], "pos": ["X", null]}\n{"tokens": ["c"], "pos": ["Y"]}\n'
KINDS = {
    "CoNLL-U": Kind(lambda folder: write_conllu(folder / "a.conllu", 5, seed=0), "*", reads_corpus("a.conllu", "upos")),
    "columns": Kind(write_lines("a.txt", "a X B\nb Y I\n\nc X B\n"), "*", reads_corpus("a.txt", "pos", "3")),
    "tab-separated": Kind(write_lines("a.tsv", TSV), "*", reads_corpus("a.tsv", "label")),
    "JSON lines": Kind(write_lines("a.jsonl", JSONL), "*", reads_corpus("a.jsonl", "pos")),
    "text": Kind(write_lines("a.text", "some words\nmore words\n"), "*", reads_corpus("a.text")),
    "run folder": Kind(write_run, "*.json", read_run),
    "probes": Kind(
        lambda folder: probe_set(seed=1).save(folder / "p"), "p/**/*", lambda folder: load_probes(folder / "p")
    ),
    "store": Kind(write_store, "store/**/*", read_store),
    "NeuroX HDF5": Kind(
        lambda folder: write_hdf5(folder / "a.hdf5", draw_vectors()), "*", lambda folder: read_neurox(folder / "a.hdf5")
    ),
    "NeuroX JSON": Kind(write_neurox_json, "*", lambda folder: read_neurox(folder / "a.json")),
    "model": Kind(lambda folder: write_bert(folder / "bert"), "bert/*", lambda folder: load_model(folder / "bert")),
    "saved model": Kind(
        lambda folder: load_model(write_bert(folder / "bert")).save(folder / "saved"),
        "saved/**/*",
        lambda folder: load_model(folder / "saved"),
    ),
}

DAMAGE = st.lists(
    st.tuples(
        st.sampled_from(["flip", "cut", "drop", "double", "insert", "replace"]),
        st.floats(0, 1, exclude_max=True),
        st.integers(1, 200),
        st.sampled_from(ODD),
    ),
    min_size=1,
    max_size=3,
)


def damaged(content: bytes, damage: list[tuple[str, float, int, bytes]]) -> bytes:
    for how, where, size, odd in damage:
        place = int(where * len(content))
        before, after = content[:place], content[place:]
        if how == "flip" and after:
            content = before + bytes([after[0] ^ 1 << size % 8]) + after[1:]
        elif how == "cut":
            content = before
        elif how == "drop":
            content = before + after[size:]
        elif how == "double":
            content = before + after[:size] + after
        elif how == "insert":
            content = before + odd + after
        elif how == "replace":
            content = before + odd + after[len(odd) :]
    return content


@pytest.fixture(scope="module", autouse=True)
def as_users_run_it() -> Iterator[None]:
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """The undamaged folder of a kind, made once."""
    folders: dict[str, Path] = {}

    def find(name: str) -> Path:
        if name not in folders:
            folders[name] = tmp_path_factory.mktemp("kind")
            KINDS[name].write(folders[name])
        return folders[name]

    return find


@pytest.mark.parametrize("name", KINDS)
def test_undamaged_files_are_read(name: str, written: Callable[[str], Path], tmp_path: Path) -> None:
    KINDS[name].read(shutil.copytree(written(name), tmp_path / "copy"))


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", KINDS)
@settings(max_examples=EXAMPLES, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))  # pyright: ignore[reportArgumentType] - the metaclass iterates over the checks, and does not say so
@given(damage=DAMAGE, pick=st.integers(0, 1000))
def test_damage_is_an_error_of_the_package_or_none(
    name: str,
    damage: list[tuple[str, float, int, bytes]],
    pick: int,
    written: Callable[[str], Path],
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    folder = tmp_path_factory.mktemp("damaged") / "copy"
    shutil.copytree(written(name), folder)
    files = sorted(path for path in folder.glob(KINDS[name].files) if path.is_file())
    file = files[pick % len(files)]
    file.write_bytes(damaged(file.read_bytes(), damage))
    with suppress(LcaError):
        KINDS[name].read(folder)
    shutil.rmtree(folder)


@pytest.mark.parametrize("text", [b"[" * 100_000, b"9" * 5000, b"\xff", b"", b"null", b'{"a": ' * 5000])
@pytest.mark.parametrize("name", ["run folder", "probes", "store", "NeuroX JSON", "model", "saved model", "JSON lines"])
def test_hostile_json_is_an_error_of_the_package(
    name: str, text: bytes, written: Callable[[str], Path], tmp_path: Path
) -> None:
    source = written(name)
    for file in sorted(path for path in source.glob(KINDS[name].files) if path.suffix in (".json", ".jsonl")):
        folder = shutil.copytree(source, tmp_path / file.name)
        (folder / file.relative_to(source)).write_bytes(text)
        with suppress(LcaError):
            KINDS[name].read(folder)


def test_the_damage_is_damage() -> None:
    content = bytes(np.arange(100, dtype=np.uint8))
    for how in ("flip", "cut", "drop", "double", "insert", "replace"):
        assert damaged(content, [(how, 0.5, 3, b"odd")]) != content
