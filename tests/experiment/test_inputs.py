"""What a run reads: corpora in memory, tasks made of words, options of files, and what it says of overlaps."""

import logging
from pathlib import Path

import pytest

from lca_jax.errors import SettingsError
from lca_jax.experiment.config import Experiment, read_experiment
from lca_jax.experiment.folder import write_json
from lca_jax.experiment.inputs import Inputs
from lca_jax.experiment.kept_corpora import keep_corpora
from lca_jax.text.corpus import Corpus
from lca_jax.text.options import TextOptions
from tests.experiment.files import write_conllu, write_sentences


def experiment(folder: Path, **changes: object) -> Experiment:
    settings: dict = {"model": "unused", "out": folder / "run", "train": folder / "t", "test": folder / "e", **changes}
    return Experiment(**settings)


def inputs(settings: Experiment) -> Inputs:
    return Inputs(settings, None)


def test_corpora_in_memory_are_kept_with_the_run_and_read_again(tmp_path: Path) -> None:
    parts = {
        name: Corpus.from_words([["the", "cat", name]] * 3, labels={"mine": [["d", "n", None]] * 3}, name=name)
        for name in ("train", "dev", "test")
    }
    settings = experiment(tmp_path, **parts)
    assert settings.tasks == ("mine",)
    with pytest.raises(SettingsError, match="`train` is a corpus in memory"):
        settings.as_json()
    kept = keep_corpora(settings, tmp_path / "run")
    write_json(tmp_path / "run" / "config.json", kept.as_json())
    again = inputs(read_experiment(tmp_path / "run"))
    for name, corpus in parts.items():
        assert again.corpora[name].fingerprint() == corpus.fingerprint() == inputs(settings).corpora[name].fingerprint()
    assert again.tasks == ("mine",)
    assert keep_corpora(settings, tmp_path / "run") == kept, "what is there is not written again"


def test_the_options_of_files_say_nothing_of_corpora_in_memory(tmp_path: Path) -> None:
    """A survey divides a file that is read with options; the parts are then files of the run."""
    parts = {
        name: Corpus.from_words([["très", "café"]] * 9, labels={"k": [["x", "y"]] * 9}) for name in ("train", "test")
    }
    texts = TextOptions(word_column="2", encoding="latin-1")
    kept = keep_corpora(experiment(tmp_path, **parts, texts=texts), tmp_path / "run")
    write_json(tmp_path / "run" / "config.json", kept.as_json())
    again = inputs(read_experiment(tmp_path / "run"))
    assert again.whole["test"].fingerprint() == parts["test"].fingerprint()


def test_tasks_of_words_themselves_stand_beside_those_of_the_file(tmp_path: Path) -> None:
    files = {name: write_conllu(tmp_path / f"{name}.conllu", 30, seed=seed) for seed, name in enumerate(("t", "e"))}
    settings = experiment(tmp_path, train=files["t"], test=files["e"], tasks=["position"], annotate=["cats=/cats?/"])
    read = inputs(settings)
    assert read.tasks == ("position", "cats")
    assert read.corpora["test"].classes("cats") == ("cats", "not cats")
    assert inputs(experiment(tmp_path, train=files["t"], test=files["e"], annotate=["cats=/cats?/"])).tasks == ("cats",)
    assert Experiment.from_json(settings.as_json()) == settings


def test_a_list_of_words_is_found_from_everywhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "list.txt").write_text("cat\n")
    files = {name: write_conllu(tmp_path / f"{name}.conllu", 30, seed=seed) for seed, name in enumerate(("t", "e"))}
    monkeypatch.chdir(tmp_path)
    settings = experiment(tmp_path, train=files["t"], test=files["e"], annotate=["cat=list.txt", "x=/c.t/"])
    content = settings.as_json()
    monkeypatch.chdir("/")
    kept = Experiment.from_json(content)
    assert kept.annotate == (f"cat={tmp_path / 'list.txt'}", "x=/c.t/")
    assert inputs(kept).tasks == ("cat", "x")
    assert "--annotate cat=list.txt --annotate x=/c.t/" in kept.command()


def test_options_of_files_reach_the_reader(tmp_path: Path) -> None:
    for name in ("t", "e"):
        (tmp_path / name).write_bytes("x\ttrès\ny\tcafé\n\n".encode("latin-1") * (2 if name == "t" else 1))
    texts = TextOptions(word_column="2", encoding="latin-1")
    settings = experiment(tmp_path, tasks=["k=1"], texts=texts)
    assert inputs(settings).corpora["test"].words() == ["très", "café"]
    assert Experiment.from_json(settings.as_json()).texts == texts


def test_one_file_with_the_parts_of_senteval(tmp_path: Path) -> None:
    file = tmp_path / "tense.tsv"
    rows = [
        ("tr", "PAST"),
        ("tr", "PRES"),
        ("va", "PAST"),
        ("va", "PRES"),
        ("te", "PAST"),
        ("te", "PRES"),
        ("te", "PAST"),
    ]
    file.write_text("".join(f"{part}\t{label}\tsentence {number} of it\n" for number, (part, label) in enumerate(rows)))
    corpora = inputs(experiment(tmp_path, train=file, dev=file, test=file, tasks=["tense=2"])).corpora
    assert {part: corpus.sentence_count for part, corpus in corpora.items()} == {"train": 2, "dev": 2, "test": 3}


def test_parts_that_are_the_same_or_share_sentences_are_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    file = write_conllu(tmp_path / "a.conllu", 40, seed=0)
    with caplog.at_level(logging.WARNING, logger="lca_jax"):
        _ = inputs(
            experiment(tmp_path, train=file, dev=write_conllu(tmp_path / "b.conllu", 9, seed=1), test=file)
        ).corpora
    assert "train and test are the same sentences. Give different files." in caplog.text
    caplog.clear()
    long = "one two three four five six seven eight"
    for name, texts in (("t", [long, "so it is"]), ("e", [long, "so it is", "a b c d e f g", long])):
        (tmp_path / name).write_text("".join(f"{place % 2}\t{text}\n" for place, text in enumerate(texts * 5)))
    with caplog.at_level(logging.WARNING, logger="lca_jax"):
        _ = inputs(
            experiment(tmp_path, train=tmp_path / "t", dev=tmp_path / "t", test=tmp_path / "e", tasks=["1"])
        ).corpora
    assert "10 of 15 sentences of test (of 6 words or more) are in train too" in caplog.text
    caplog.clear()
    with caplog.at_level(logging.WARNING, logger="lca_jax"):
        apart = [write_sentences(tmp_path / f"{seed}.tsv", 30, seed=seed) for seed in (1, 2)]
        _ = inputs(experiment(tmp_path, train=apart[0], test=apart[1], tasks=["1"])).corpora
    assert "same sentences" not in caplog.text


def test_labels_that_are_measurements_are_not_made_classes(tmp_path: Path) -> None:
    for name in ("t", "e"):
        rows = (f"{number / 7:.3f}\ta b {number}\tc d\n" for number in range(40))
        (tmp_path / name).write_text("score\tsentence1\tsentence2\n" + "".join(rows))
    with pytest.raises(SettingsError, match=r"labels of `score` are numbers \(40 different ones.*--regression score"):
        _ = inputs(experiment(tmp_path, tasks=["score"])).corpora


def test_running_lines_are_enough_for_tasks_of_words_themselves(tmp_path: Path) -> None:
    for name, count in (("t", 30), ("e", 20)):
        (tmp_path / name).write_text("the cat sat here\nin May it rained\n" * count)
    read = inputs(experiment(tmp_path, tasks=["position"], annotate=["month=/May/"]))
    assert read.tasks == ("position", "month")
    assert read.corpora["test"].sentence_count == 40
    assert read.corpora["test"].sentences[1] == ("in", "May", "it", "rained")


def test_an_unlabelled_table_is_read_by_the_column_that_is_named(tmp_path: Path) -> None:
    for name, count in (("t", 30), ("e", 20)):
        (tmp_path / f"{name}.csv").write_text("id,text\n" + '7,"the cat, in May"\n' * count)
        (tmp_path / f"{name}.tsv").write_text("May\tO\nrained\tO\n\n" * count)
    csv = {part: tmp_path / f"{name}.csv" for part, name in (("train", "t"), ("test", "e"))}
    for texts in (TextOptions(), TextOptions(text_column="text")):
        read = inputs(experiment(tmp_path, **csv, annotate=["month=/May/"], texts=texts))
        assert read.corpora["test"].sentences[0] == ("the", "cat,", "in", "May")
    columns = {part: tmp_path / f"{name}.tsv" for part, name in (("train", "t"), ("test", "e"))}
    read = inputs(experiment(tmp_path, **columns, annotate=["month=/May/"], texts=TextOptions(word_column="1")))
    assert read.corpora["test"].sentences[0] == ("May", "rained")


def test_columns_that_are_read_as_running_text_are_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    for name in ("t", "e"):
        (tmp_path / name).write_text("May\tO\nrained\tO\n\n" * 20)
    assert inputs(experiment(tmp_path, annotate=["month=/May/"])).corpora["test"].sentences[0] == ("May", "O")
    assert "read as running text, whose lines are sentences, but most lines have tabs" in caplog.text
    assert "`--word-column`" in caplog.text


def test_running_text_without_a_task_is_told_what_makes_one(tmp_path: Path) -> None:
    for name in ("t", "e"):
        (tmp_path / name).write_text("the cat sat here\nin May it rained\n")
    with pytest.raises(SettingsError, match="Text without labels takes `--annotate NAME=FILE` or the task `position`"):
        inputs(experiment(tmp_path)).corpora  # noqa: B018 - it is read when it is asked for
