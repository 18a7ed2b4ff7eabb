"""A URL is never a local folder: every option that takes a path reads and writes URLs, or refuses them by name."""

import inspect
from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib import import_module
from pathlib import Path
from threading import Thread
from typing import Any, get_args, get_type_hints

import numpy as np
import pytest

from lca_jax import Corpus, load_model, read_corpus, read_minimal_pairs, write_arrow, write_conllu
from lca_jax.cli.main import COMMANDS, main
from lca_jax.errors import CorpusError, LcaError, SettingsError
from lca_jax.experiment.config import Experiment
from lca_jax.experiment.run import run
from lca_jax.experiment.survey import survey
from lca_jax.experiment.survey_settings import Survey, read_survey
from lca_jax.machine.files import real_path
from lca_jax.machine.urls import refuse_url, url_of
from lca_jax.training.language_models import train_language_models
from tests.neurox_files import SENTENCES, json_line
from tests.stores import planted_store, write_planted_store
from tests.tiny_bert import write_bert

URL = "memory://bucket/some/place"
WEB = ("http://SERVER/some/place", "https://localhost:1/some/place")
"""The first is at a server that has nothing, the second at none."""
CORPUS = Corpus.from_words([["a", "b"], ["c"]] * 6, {"upos": [["X", "Y"], ["X"]] * 6})
NAMED = {"model", "generator", "embedder", "store", "stores", "source", "target", "path", "out", "annotate", "labels"}
"""Options whose values are texts, and may be a path or hold one."""

MODEL = "no/such/model"
TEXTS = ["--train", "no/such/train.conllu", "--test", "no/such/test.conllu"]
HERE = ["--train", "WORDS", "--test", "WORDS"]
STUDY = ["--train", "no/such/train.conllu"]
REFUSED = {
    "demo": {"out": ["--out", URL]},
    "run": {
        "out": ["--model", MODEL, *TEXTS, "--out", URL],
        "profile": ["--model", MODEL, *TEXTS, "--out", "run", "--profile", URL],
    },
    "extract": {
        "run_folder": [URL],
        "profile": ["--model", MODEL, "--text", "no/such/text", "--out", "store", "--profile", URL],
    },
    **{step: {"run_folder": [URL]} for step in ("probe", "rank", "ablate", "report")},
    "ablate-model": {"run": ["--run", URL, "--task", "upos", "--text", "no/such/text"]},
    "control": {"run": ["--run", URL, "--task", "upos", "--source", "X", "--target", "Y"]},
    "study": {"profile": ["--model", MODEL, *STUDY, "--out", "study", "--profile", URL]},
    "compare-models": {"out": ["STORE", "--out", URL]},
    "describe": {"out": ["STORE", "--generator", MODEL, "--out", URL]},
    "tune": {"out": ["--model", MODEL, "--train", "no/such/train", "--task", "x", "--out", URL]},
    "show": {},
    "convert": {
        "source": [f"{URL}/words.hdf5", "new"],
        "target": ["STORE", f"{URL}/words.arrow"],
    },
}
"""By command and option, the arguments that must be refused by name."""
READ = {
    "demo": {"model": ["--model", URL, "--out", "run"]},
    "run": {
        "train": ["--model", MODEL, "--train", URL, "--test", "no/such/test", "--out", "run"],
        "dev": ["--model", MODEL, "--train", "WORDS", "--dev", URL, "--test", "WORDS", "--out", "run"],
        "test": ["--model", MODEL, "--train", "WORDS", "--test", URL, "--out", "run"],
        "model": ["--model", URL, *HERE, "--out", "run"],
        "annotate": ["--model", MODEL, *HERE, "--annotate", f"x={URL}", "--out", "run"],
    },
    "extract": {
        "model": ["--model", URL, "--text", "WORDS", "--out", "store"],
        "text": ["--model", MODEL, "--text", URL, "--out", "store"],
    },
    "study": {
        "model": ["--model", URL, "--train", "WORDS", "--out", "study"],
        "train": ["--model", MODEL, "--train", URL, "--out", "study"],
        "dev": ["--model", MODEL, "--train", "WORDS", "--dev", URL, "--out", "study"],
        "annotate": ["--model", MODEL, "--train", "WORDS", "--annotate", f"x={URL}", "--out", "study"],
    },
    "compare-models": {"stores": [URL, "--out", "out"]},
    "describe": {
        "store": [URL, "--generator", MODEL, "--out", "out"],
        "generator": ["STORE", "--generator", URL, "--out", "out"],
    },
    "tune": {
        "model": ["--model", URL, "--train", "WORDS", "--task", "upos", "--out", "out"],
        "train": ["--model", MODEL, "--train", URL, "--task", "upos", "--out", "out"],
        "dev": ["--model", MODEL, "--train", "WORDS", "--dev", URL, "--task", "upos", "--out", "out"],
        "test": ["--model", MODEL, "--train", "WORDS", "--test", URL, "--task", "upos", "--out", "out"],
    },
    "show": {"path": [URL]},
    "convert": {
        "text": ["FILE.json", "new", "--text", URL],
        "labels": ["FILE.json", "new", "--labels", f"pos={URL}"],
    },
}
"""By command and option, the arguments whose URL is looked up and not found."""
LISTED = {("compare-models", "stores"), ("describe", "store"), ("describe", "generator"), ("show", "path")} | {
    (name, "model") for name in READ if name != "describe"
}
"""Options that take folders at URLs, which web servers cannot list."""
WRITTEN = {
    "extract": ["--model", MODEL, "--text", "no/such/text", "--out"],
    "study": ["--model", MODEL, *STUDY, "--out"],
}
"""Commands that write to URLs."""
ELSEWHERE = {
    ("extract", "out"): "test_object_store.py",
    ("study", "out"): "test_study_at_a_url.py",
    ("describe", "labels"): "names of tasks",
    ("describe", "embedder"): "loaded as --generator is",
    ("ablate-model", "text"): "read as --train is",
    ("ablate-model", "classified"): "read as --train is",
    ("ablate-model", "pairs"): "below",
    ("ablate-model", "translations"): "below",
    ("control", "source"): "a class",
    ("control", "target"): "a class",
    ("control", "text"): "read as --train is",
    ("control", "lexicon"): "read as --train is",
}
"""Options that other tests try, or that take no path."""


def places_of(annotated: Any) -> Iterator[str]:
    """The options of a command, or of a record of settings, that are paths or may be."""
    hints = get_type_hints(annotated)
    parameters = inspect.signature(annotated).parameters
    names = [item.name for item in fields(annotated)] if is_dataclass(annotated) else list(parameters)
    for name in names:
        kinds = [hints[name], *get_args(hints[name])]
        records = [kind for kind in kinds if is_dataclass(kind) and kind.__module__ != "lca_jax.text.corpus"]
        for record in records:
            yield from places_of(record)
        if not records and (name in NAMED or Path in kinds):
            yield name


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    """Host and port of a web server that has no file."""
    with ThreadingHTTPServer(("127.0.0.1", 0), _Nothing) as serving:
        Thread(target=serving.serve_forever, daemon=True).start()
        yield f"127.0.0.1:{serving.server_port}"
        serving.shutdown()


class _Nothing(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(404)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:  # pyright: ignore[reportIncompatibleMethodOverride] - nothing is said
        pass


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_every_option_that_takes_a_path_is_tried() -> None:
    tried = {(command, option) for table in (REFUSED, READ) for command, of in table.items() for option in of}
    found = set()
    for name, command in COMMANDS.items():
        function = getattr(import_module(f"lca_jax.cli.{command.module}"), command.function)
        found |= {(name, option) for option in places_of(function)}
    assert found == tried | set(ELSEWHERE)


def fail(command: str, arguments: list[str], folder: Path, capsys: pytest.CaptureFixture[str]) -> str:
    """What a command says that must end with an error and leave nothing behind."""
    if "STORE" in arguments:
        write_planted_store(folder / "STORE", words=40)
    if "WORDS" in arguments:
        write_conllu(CORPUS, folder / "WORDS")
    if "FILE.json" in arguments:
        vectors = np.ones((2, len(SENTENCES[0]), 3), np.float32)
        (folder / "FILE.json").write_text(json_line(0, SENTENCES[0], vectors), "utf-8")
    with pytest.raises(SystemExit) as end:
        main([command, *arguments, "--quiet"] if command != "show" else [command, *arguments])
    assert end.value.code == 1
    assert not [path for path in folder.iterdir() if ":" in path.name]
    return capsys.readouterr().err


@pytest.mark.parametrize(
    ("is_refused", "command", "option"),
    [(table is REFUSED, name, option) for table in (REFUSED, READ) for name, of in table.items() for option in of],
)
def test_a_url_is_looked_up_or_refused(
    is_refused: bool, command: str, option: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    said = fail(command, (REFUSED if is_refused else READ)[command][option], folder, capsys)
    assert URL in said
    assert ("is a URL, and here only a path on this machine will do" in said) == is_refused


@pytest.mark.parametrize(
    ("web", "command", "option"),
    [
        (web, name, option)
        for web in WEB
        for table in (REFUSED, READ)
        for name, of in table.items()
        for option in of
        # A file at https is fetched as one at http is, and the server of these tests speaks http.
        if web == WEB[0] or table is REFUSED or (name, option) in LISTED
    ],
)
def test_a_web_server_is_read_file_by_file_or_refused(
    web: str, command: str, option: str, server: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    is_refused = option in REFUSED.get(command, {})
    url = web.replace("SERVER", server)
    arguments = (REFUSED if is_refused else READ)[command][option]
    said = fail(command, [argument.replace(URL, url) for argument in arguments], folder, capsys)
    assert url in said
    assert ("is a URL, and here only a path on this machine will do" in said) == is_refused
    assert ("is on a web server, which neither writes nor lists" in said) == ((command, option) in LISTED)


@pytest.mark.parametrize("web", WEB, ids=["http", "https"])
@pytest.mark.parametrize("command", WRITTEN)
def test_nothing_is_written_to_a_web_server(
    web: str, command: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    said = fail(command, [*WRITTEN[command], web], folder, capsys)
    assert f"{web} is on a web server, which neither writes nor lists files" in said
    assert not list(folder.iterdir())


def test_a_refused_run_folder_names_what_writes_to_urls(folder: Path) -> None:
    for refused in (
        lambda: run(Experiment(model=MODEL, train=Path("no/train"), test=Path("no/test"), out=Path(URL))),
        lambda: survey(Survey(models={"one": MODEL}, corpora={"a": "no/a", "b": "no/b"}, out=Path(URL))),
    ):
        with pytest.raises(SettingsError, match=f"{URL} is a URL.*`lca study` without a file, and `lca extract"):
            refused()
    assert not list(folder.iterdir())


def test_functions_refuse_what_commands_refuse(folder: Path) -> None:
    store = planted_store(words=40)
    for write in (
        lambda: write_arrow(store, f"{URL}/words.arrow"),
        lambda: write_conllu(CORPUS, f"{URL}/words.conllu"),
        lambda: train_language_models([["a", "b"]] * 3, out=URL),
    ):
        with pytest.raises(LcaError, match=f"{URL}.* is a URL"):
            write()
    with pytest.raises(CorpusError, match=f"{URL}: cannot be read"):
        read_minimal_pairs(URL)
    assert not list(folder.iterdir())


def test_texts_and_models_are_read_at_urls(folder: Path) -> None:
    here = write_conllu(CORPUS, folder / "words.conllu")
    read = read_corpus(f"file://{here.absolute()}", tasks=["upos"])
    assert read.fingerprint() == read_corpus(here, tasks=["upos"]).fingerprint()
    assert read.name == "words.conllu"
    model = write_bert(folder / "bert")
    (model / "weights.pkl").write_bytes(b"not to be fetched")
    loaded = load_model(f"file://{model}")
    assert loaded.fingerprint == load_model(model).fingerprint
    assert loaded.name == f"file://{model}"
    with pytest.raises(LcaError, match="`revision` picks a version on the hub"):
        load_model(f"file://{model}", revision="main")
    loaded.save(f"file://{folder}/saved")
    loaded.save(f"file://{folder}/saved")
    assert load_model(f"file://{folder}/saved").fingerprint == loaded.fingerprint
    assert len({file.parts[-3] for file in (folder / "saved").glob("parts-*/params/*") if file.is_file()}) == 1


def test_the_file_of_a_survey_is_read_at_a_url(folder: Path) -> None:
    (folder / "two.toml").write_text('out = "here"\n[models]\na = "x"\nb = "y"\n[corpora]\nc = "words"\n', "utf-8")
    read = read_survey(Path(f"file://{folder}/two.toml"))
    assert (read.models, read.out) == ({"a": "x", "b": "y"}, Path("here"))
    with pytest.raises(SettingsError, match=f"{URL} cannot be read as TOML"):
        read_survey(Path(URL))


@pytest.mark.parametrize(
    ("path", "url"),
    [
        ("gs://bucket/run", "gs://bucket/run"),
        (Path("gs://bucket/run"), "gs://bucket/run"),
        ("https://a.b/c?d=1", "https://a.b/c?d=1"),
        (Path("file:///tmp/x"), "file:///tmp/x"),
        ("s3://bucket//odd", "s3://bucket//odd"),
        ("C:/Users", None),
        ("hf:org/name", None),
        ("/home/gs://x", None),
        ("a=b://c", None),
        ("runs/one", None),
    ],
)
def test_urls_are_told_from_paths(path: str | Path, url: str | None) -> None:
    assert url_of(path) == url
    if url is None:
        refuse_url(path)
    else:
        with pytest.raises(SettingsError, match="mount the bucket"):
            real_path(path)
