"""The `lca` command as its user meets it."""

import logging
import re
import subprocess
import sys
import warnings
from importlib import import_module, metadata
from pathlib import Path

import pytest

from lca_jax import demo_corpus_file, open_store, read_conllu
from lca_jax.cli.main import COMMANDS, main
from tests.experiment.files import write_conllu
from tests.neurox_files import SENTENCES, WORDS, draw_vectors, write_hdf5
from tests.processes import compiling
from tests.tiny_bert import write_bert


def lca(*arguments: object, cache: Path) -> subprocess.CompletedProcess[str]:
    command = [
        sys.executable,
        "-c",
        "from lca_jax.cli.main import main; main()",
        *(str(argument) for argument in arguments),
    ]
    environment = {"PATH": "/usr/bin:/bin", "XDG_CACHE_HOME": str(cache), "HF_HUB_OFFLINE": "1"}
    return subprocess.run(command, capture_output=True, text=True, check=False, env=environment | compiling())


@pytest.fixture(scope="module")
def options(tmp_path_factory: pytest.TempPathFactory) -> list[object]:
    folder = tmp_path_factory.mktemp("cli")
    files = {
        part: write_conllu(folder / f"{part}.conllu", 40, seed=seed) for seed, part in enumerate(("train", "test"))
    }
    return [
        *("--model", write_bert(folder / "bert"), "--train", files["train"], "--test", files["test"]),
        *("--task", "upos", "--probe.l1", "1e-3", "--probe.l2", "1e-2", "--fractions", "0.1", "0.3", "--draws", "2"),
    ]


@pytest.mark.slow
def test_run_show_and_steps(options: list[object], tmp_path: Path) -> None:
    run = tmp_path / "run"
    first = lca("run", *options, "--out", run, "--until", "probe", cache=tmp_path)
    assert first.returncode == 0, first.stderr
    assert not first.stdout
    assert (run / "probes").is_dir()
    assert "has these activations already" not in first.stderr
    assert "tensors are not needed" not in first.stderr
    assert "no results yet" in lca("show", run, cache=tmp_path).stdout
    rest = lca("report", run, "--quiet", cache=tmp_path)
    assert rest.returncode == 0, rest.stderr
    assert not rest.stderr
    assert str(run / "report" / "index.html") in rest.stdout
    # The words of this corpus decide their classes, so a probe can only be as good as a baseline, and says so first.
    assert "  1. The probe of upos does not beat its baselines: it is right on" in rest.stdout
    assert "most frequent class (" in rest.stdout
    assert "All of this is correlation" in rest.stdout
    assert "neurons (" not in rest.stdout
    shown = lca("show", run, "--verify", cache=tmp_path).stdout
    assert "word-type majority 1.000" in shown
    assert "does not beat its baselines" in shown
    assert shown.count("every checksum right") == 3
    assert "with statistics" not in shown
    assert lca("extract", "--run", run, "--statistics", "--quiet", cache=tmp_path).returncode == 0
    shown = lca("show", run, "--verify", cache=tmp_path).stdout
    assert shown.count("with statistics, every checksum right") == 3
    again = lca("extract", "--run", run, cache=tmp_path)
    assert again.stderr.count("finished before, skipped") == 3, again.stderr
    damaged = next((run / "activations" / "train").rglob("c/0/0/0"))
    content = bytearray(damaged.read_bytes())
    content[100] ^= 1
    damaged.write_bytes(content)
    refused = lca("show", run, "--verify", cache=tmp_path)
    assert refused.returncode == 1
    assert "c/0/0/0" in refused.stderr


@pytest.mark.slow
def test_a_text_without_labels_becomes_a_store(options: list[object], tmp_path: Path) -> None:
    text = tmp_path / "plain.txt"
    text.write_text("the cat sat\n\na cat\n")
    asked = ["extract", "--model", options[1], "--text", text, "--out", tmp_path / "store"]
    done = lca(*asked, cache=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "5 words, residual [0, 1, 2]" in done.stdout
    store = open_store(tmp_path / "store")
    assert (store.forms(), store.tasks) == (["the", "cat", "sat", "a", "cat"], ())
    assert lca(*asked, cache=tmp_path).returncode == 0


@pytest.mark.slow
def test_exit_codes_and_one_line_errors(options: list[object], tmp_path: Path) -> None:
    missing = lca("run", *options, "--train", tmp_path / "none.conllu", "--out", tmp_path / "run", cache=tmp_path)
    assert missing.returncode == 1
    assert "none.conllu" in missing.stderr
    assert "Traceback" not in missing.stderr
    assert lca("run", "--nonsense", cache=tmp_path).returncode == 2
    usage = lca("run", "--help", cache=tmp_path)
    assert usage.returncode == 0
    assert "--probe.l1" in usage.stdout
    assert lca("show", tmp_path, cache=tmp_path).returncode == 1
    traceback = lca("show", tmp_path, "--debug", cache=tmp_path)
    assert "Traceback" in traceback.stderr


def test_the_list_of_commands_says_what_their_docstrings_say(capsys: pytest.CaptureFixture[str]) -> None:
    for command in COMMANDS.values():
        function = getattr(import_module(f"lca_jax.cli.{command.module}"), command.function)
        assert (function.__doc__ or "").splitlines()[0] == command.summary
    with pytest.raises(SystemExit, match="0"):
        main(["--help"])
    listed = capsys.readouterr().out
    assert all(re.search(rf"\n    {name}\s", listed) for name in COMMANDS)


def test_the_version_is_that_of_the_package(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="0"):
        main(["--version"])
    assert capsys.readouterr().out == f"lca_jax {metadata.version('lca-jax')}\n"


def test_an_unknown_command_is_answered_with_the_known_ones(capsys: pytest.CaptureFixture[str]) -> None:
    for arguments in (["shwo"], [], ["--quiet", "run"]):
        with pytest.raises(SystemExit, match="2"):
            main(arguments)
    assert "invalid choice: 'shwo' (choose from" in capsys.readouterr().err


def test_the_command_leaves_the_log_of_its_process_as_it_was(tmp_path: Path) -> None:
    loggers = [logging.getLogger(name) for name in ("lca_jax", "py.warnings")]
    before = [(logger.level, logger.propagate, list(logger.handlers)) for logger in loggers]
    shown = warnings.showwarning, warnings.formatwarning
    with pytest.raises(SystemExit, match="1"):
        main(["show", str(tmp_path)])
    assert [(logger.level, logger.propagate, list(logger.handlers)) for logger in loggers] == before
    assert (warnings.showwarning, warnings.formatwarning) == shown


@pytest.mark.slow
def test_convert_to_and_from_neurox(tmp_path: Path) -> None:
    source = write_hdf5(tmp_path / "old.hdf5", draw_vectors())
    labels = tmp_path / "old.label"
    labels.write_text("".join(" ".join(f"L{len(word)}" for word in words) + "\n" for words in SENTENCES))
    read = lca("convert", source, tmp_path / "store", "--labels", f"size={labels}", "--quiet", cache=tmp_path)
    assert read.returncode == 0, read.stderr
    assert read.stdout == f"store {tmp_path / 'store'}: {WORDS} words, residual [0, 1, 2]\n"
    written = lca("convert", tmp_path / "store", tmp_path / "new.hdf5", cache=tmp_path)
    assert written.returncode == 0, written.stderr
    assert written.stdout.split() == [str(tmp_path / name) for name in ("new.hdf5", "new.word", "new.size.label")]
    assert (tmp_path / "new.hdf5").read_bytes() == source.read_bytes()
    assert (tmp_path / "new.size.label").read_bytes() == labels.read_bytes()
    for name, files in (("a.arrow", ["a.arrow"]), ("a.safetensors", ["a.safetensors", "a.parquet"])):
        done = lca("convert", tmp_path / "store", tmp_path / name, cache=tmp_path)
        assert done.stdout.split() == [str(tmp_path / file) for file in files], done.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["a.hdf5", "a.json"], "Convert a.hdf5 to a store (a folder) first, and that store to a.json."),
        (["a.hdf5", "store", "--space-mark", "~"], "--space-mark: only where `lca convert` writes files of NeuroX."),
        (["store", "a.hdf5", "--pool", "mean"], "--pool: only where `lca convert` reads files of NeuroX."),
        (["store", "a.arrow", "--unlabelled", "_"], "--unlabelled: only where"),
        (["store", "a.csv"], "to a file ending in .hdf5, .json, .arrow, .safetensors; got a.csv"),
        (["a.hdf5", "store", "--labels", "x", "--labels", "y"], "must name a different task each time"),
    ],
)
def test_convert_says_what_does_not_fit(arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="1"):
        main(["convert", *arguments])
    assert message in capsys.readouterr().err


def test_the_embedded_corpus_is_read_by_our_own_reader() -> None:
    parts = {
        part: read_conllu(demo_corpus_file(part), tasks=["upos", "feats:Number"]) for part in ("train", "dev", "test")
    }
    assert sum(corpus.sentence_count for corpus in parts.values()) >= 400
    tags = set(parts["train"].classes("upos"))
    assert len(tags) == 17
    for corpus in parts.values():
        assert set(corpus.classes("upos")) == tags
        assert corpus.skipped
    every = [sentence for corpus in parts.values() for sentence in corpus.sentences]
    assert len(set(every)) == len(every)
