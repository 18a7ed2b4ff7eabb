"""A whole run on a tiny model: what it writes, how it resumes, that it is deterministic."""

import json
import re
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

import lca_jax
from lca_jax import ElasticNet, Experiment, load_probes, open_store, read_conllu, run
from lca_jax.errors import CorpusError, DataError, SettingsError, StoreError
from lca_jax.experiment.config import read_experiment
from lca_jax.experiment.folder import RunFolder, key_of
from lca_jax.machine import files
from lca_jax.report.findings import findings
from tests.experiment.files import tiny_experiment, write_conllu, write_heads, write_sentences
from tests.experiment.result_keys import keys_of


@pytest.fixture(scope="module")
def experiment(tmp_path_factory: pytest.TempPathFactory) -> Experiment:
    return tiny_experiment(tmp_path_factory.mktemp("experiment"), fractions=(0.1, 0.25))


@pytest.fixture(scope="module")
def results(experiment: Experiment) -> dict:
    return run(experiment)


def test_the_run_folder_is_complete(experiment: Experiment, results: dict) -> None:
    out = experiment.out
    for name in ("config.json", "results.json", "log.txt", "report/index.html"):
        assert (out / name).stat().st_size > 0
    assert json.loads((out / "results.json").read_text("utf-8")) == results
    assert len((out / "rankings/upos.csv").read_text("utf-8").splitlines()) == results["model"]["neurons"] + 1
    assert (out / "rankings/feats-Number.csv").exists()
    assert load_probes(out / "probes").one("upos").l1 == results["tasks"]["upos"]["l1"]
    for part in ("train", "dev", "test"):
        store = open_store(out / "activations" / part)
        assert store.word_count == results["corpus"][part]["words"]
        assert store.excluded == results["corpus"][part]["excluded"] == {"no piece": 1}
    assert read_experiment(out) == experiment


def test_results_have_the_documented_keys(results: dict) -> None:
    assert results["format"] == 5
    assert set(results) == {
        "format", "key", "date", "command", "model", "corpus", "tasks", "seed", "seconds", "device", "versions",
    }  # fmt: skip
    assert set(results["tasks"]) == {"upos", "feats:Number"}
    entry = results["tasks"]["upos"]
    assert {
        "classes", "words", "most_frequent_class", "word_type_majority", "lead", "by_layer", "confusions", "accuracy",
        "l1", "l2", "objective", "duality_gap", "iterations",
        "nonzero_fraction", "control_accuracy", "selectivity", "keep", "minimal", "layers", "per_class",
    } <= set(entry)  # fmt: skip
    assert set(entry["words"]) == {"train", "dev", "test"}
    assert {"fraction", "top", "random", "random_std", "bottom"} <= set(entry["keep"]["mask"][0])
    assert [point["fraction"] for point in entry["keep"]["retrain"]] == [0.1, 0.25]
    assert {"drop", "neurons", "accuracy", "selectivity"} <= set(entry["minimal"])
    assert {"neurons", "recall", "recall_interval"} <= set(entry["per_class"]["NOUN"])
    assert sum(entry["layers"]) == pytest.approx(1)
    assert entry["duality_gap"] <= 1e-4 * entry["null_objective"]
    low, high = entry["accuracy_interval"]["test"]
    assert low <= entry["accuracy"]["test"] <= high
    assert entry["selectivity"] == pytest.approx(entry["accuracy"]["test"] - entry["control_accuracy"])
    # The word without a piece is labelled X, and masked: it is no class and no word of the task.
    assert "X" not in entry["classes"]
    assert entry["words"]["train"] == results["corpus"]["train"]["words"] - 1


def test_every_key_is_documented_and_every_documented_key_is_written(results: dict) -> None:
    page = (Path(lca_jax.__file__).parent / "experiment" / "README.md").read_text("utf-8")
    table = page.split("## Keys of results.json")[1].split("## Studies")[0]
    rows = [line.split("|")[1:4] for line in table.splitlines() if line.startswith("| `")]
    optional = {tuple(key.strip(" `").split(".")): "optional" in kind for key, kind, _ in rows}
    assert len(optional) == len(rows) > 70
    patterns = {row: re.compile(re.sub(r"[A-Z]+", "[^|]+", re.escape("|".join(row)))) for row in optional}
    rows_of = {
        key: [row for row, pattern in patterns.items() if pattern.fullmatch("|".join(key))] for key in keys_of(results)
    }
    assert [key for key, matches in rows_of.items() if not matches] == []
    written = {row for matches in rows_of.values() for row in matches}
    assert [row for row in optional if row not in written and not optional[row]] == []


def test_words_decide_this_corpus(results: dict) -> None:
    entry = results["tasks"]["upos"]
    assert entry["word_type_majority"] == 1
    assert entry["accuracy"]["test"] > 0.95
    # Nothing can beat a baseline that is always right: so no neurons are presented.
    assert entry["lead"]["most_frequent_class"]["interval"][0] > 0
    assert not entry["beats_baselines"]
    said = findings(results, "upos")
    assert "does not beat its baselines" in said.verdict
    assert "word-type majority" in said.verdict
    assert not said.minimal
    assert not said.layers
    assert results["tasks"]["feats:Number"]["classes"] == ["Plur", "Sing"]


def test_started_again_nothing_is_done(experiment: Experiment, results: dict) -> None:
    before = {path: path.stat().st_mtime_ns for path in experiment.out.rglob("*") if path.suffix in {".csv", ".html"}}
    assert run(experiment) == results
    assert before == {path: path.stat().st_mtime_ns for path in before}


def test_a_changed_setting_redoes_what_depends_on_it(
    experiment: Experiment, results: dict, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level("INFO", logger="lca_jax"):
        changed = run(replace(experiment, drop=0.5))
    done = [record.message for record in caplog.records]
    assert "ablate upos: its input or settings changed, done again" in done
    assert "probe: finished before, skipped" in done
    assert changed["tasks"]["upos"]["minimal"]["drop"] == 0.5
    assert changed["tasks"]["upos"]["accuracy"] == results["tasks"]["upos"]["accuracy"]
    run(experiment)


@pytest.mark.slow
def test_a_changed_corpus_redoes_everything_of_it(
    experiment: Experiment, results: dict, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    other = replace(experiment, test=write_conllu(tmp_path / "other.conllu", 25, seed=9))
    with pytest.raises(
        StoreError, match=r"results of other inputs: test test\.conllu \(now other\.conllu\).*--overwrite"
    ):
        run(other)
    assert json.loads((experiment.out / "results.json").read_text("utf-8"))["corpus"] == results["corpus"]
    with caplog.at_level("INFO", logger="lca_jax"):
        changed = run(other, overwrite=True)
    done = [record.message for record in caplog.records]
    assert "extract test: no step of this run, removed" in done
    assert not any("skipped" in line for line in done)
    assert changed["corpus"]["test"] != results["corpus"]["test"]
    run(experiment, overwrite=True)


@pytest.mark.usefixtures("results")
def test_results_of_two_models_do_not_mix(experiment: Experiment, tmp_path: Path) -> None:
    """Another model is refused by name and changes nothing; overwritten, nothing of the old one is left."""
    folder = tmp_path / "run"
    shutil.copytree(experiment.out, folder)
    mine, other = (replace(experiment, out=folder, random_weights=seed) for seed in (None, 3))
    run(mine)
    before = {
        path: path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file() and path.name != "log.txt"
    }
    with pytest.raises(
        StoreError,
        match=r"results of other inputs: model .*bert \(now .*bert with random weights 3\).*Name another --out",
    ):
        run(other, until="extract")
    assert before == {path: path.read_bytes() for path in before}
    (folder / "inputs.json").write_text('{"model": 1}', encoding="utf-8")
    with pytest.raises(StoreError, match=r"inputs\.json.*Delete "):
        run(other, until="extract")
    (folder / "inputs.json").write_bytes(before[folder / "inputs.json"])
    run(other, until="extract", overwrite=True)
    left = {path.name for path in folder.iterdir()}
    assert not left & {"results.json", "report", "rankings", "probes", "tasks"}
    assert read_experiment(folder).random_weights == 3


@pytest.mark.usefixtures("results")
def test_results_whose_inputs_have_gone_are_gone(experiment: Experiment, tmp_path: Path) -> None:
    """A setting that changes the probes leaves nothing of the old ones, even if the run stops before it is made."""
    folder = tmp_path / "run"
    shutil.copytree(experiment.out, folder)
    run(replace(experiment, out=folder, probe=ElasticNet(l1=1e-2, l2=1e-2), tasks=("upos",)), until="probe")
    left = {path.name for path in folder.iterdir()}
    assert "probes" in left
    assert not left & {"results.json", "report", "rankings"}
    assert not list((folder / "tasks").glob("*.json"))
    assert set(json.loads((folder / "steps.json").read_text("utf-8"))) == {
        "extract train", "extract dev", "extract test", "probe",
    }  # fmt: skip


def test_parts_without_a_label_in_common_are_refused_when_read(experiment: Experiment, tmp_path: Path) -> None:
    assert isinstance(experiment.test, Path)
    other = tmp_path / "other.conllu"
    assert isinstance(experiment.test, Path)
    other.write_text(experiment.test.read_text("utf-8").replace("\tNOUN\t", "\tN\t").replace("\tVERB\t", "\tV\t"))
    lines = [line.replace("\tDET\t", "\tD\t").replace("\tADV\t", "\tA\t") for line in other.read_text().splitlines()]
    other.write_text("\n".join(line.replace("\tX\t", "\tY\t") for line in lines) + "\n")
    with pytest.raises(CorpusError, match=r"`upos` in common, and have none: train has .*NOUN.*test has A, D"):
        run(replace(experiment, test=other, out=tmp_path / "run"))


def test_a_part_without_a_label_is_refused_before_anything_is_computed(experiment: Experiment, tmp_path: Path) -> None:
    files = {part: tmp_path / f"{part}.conll" for part in ("train", "test")}
    files["test"].write_text("the\tDET\ncat\tNOUN\n\n" * 20)
    # The last tenth of the training sentences, which is dev where none is named, may lack what an annotation labels.
    files["train"].write_text("the\tDET\ncat\tNOUN\n\n" * 18 + "the\t_\ncat\t_\n\n" * 2)
    alone = replace(experiment, **files, dev=None, tasks=("tag=2",), out=tmp_path / "run")
    with pytest.raises(
        DataError, match=r"dev \(train.conll \(last tenth\)\) must have a label for `tag`, and has none"
    ):
        run(alone)
    assert not (tmp_path / "run").exists()


def test_limits_draw_whole_sentences_by_seed(experiment: Experiment, tmp_path: Path) -> None:
    limited = replace(
        experiment, max_train_words=100, max_dev_words=30, max_test_words=30, out=tmp_path / "run", tasks=("upos",)
    )
    assert run(limited, until="extract") == {}
    counts = {part: open_store(limited.out / "activations" / part).word_count for part in ("train", "dev", "test")}
    assert 90 < counts["train"] <= 100
    assert max(counts["dev"], counts["test"]) <= 30
    assert isinstance(experiment.train, Path)
    head = read_conllu(experiment.train, tasks=["upos"]).take_words(100)
    assert open_store(limited.out / "activations" / "train").forms() != head.words()
    with pytest.raises(SettingsError, match="`max_test_words` must be 1 or more, got 0"):
        replace(experiment, max_test_words=0)


def test_the_command_says_what_is_not_by_default(experiment: Experiment) -> None:
    said = replace(experiment, untrained=0, labelled_only=True, max_test_words=50).command()
    assert said == (
        "lca run --model bert --train train.conllu --dev dev.conllu --task upos --task feats:Number --labelled-only "
        "--test test.conllu --max-test-words 50 --fractions 0.1 0.25 --draws 2 --replicates 2 --untrained 0 "
        "--probe.l1 0.001 0.01 --probe.l2 0.01"
    )


def test_two_runs_are_equal_but_for_times(experiment: Experiment, results: dict, tmp_path: Path) -> None:
    again = run(replace(experiment, out=tmp_path / "again"))
    differs = dict.fromkeys(("seconds", "date"), 0)
    assert again | differs == results | differs


def test_an_interrupted_step_goes_on(experiment: Experiment, results: dict, tmp_path: Path) -> None:
    short = replace(experiment, out=tmp_path / "short", tasks=("upos",))
    assert run(short, until="extract") == {}
    assert not (short.out / "probes").exists()
    steps = json.loads((short.out / "steps.json").read_text("utf-8"))
    steps["extract test"]["seconds"] = None  # as a kill in the middle leaves it
    (short.out / "steps.json").write_text(json.dumps(steps), encoding="utf-8")
    assert run(short)["tasks"]["upos"]["accuracy"] == results["tasks"]["upos"]["accuracy"]


def test_without_dev_the_last_tenth_of_train_is_taken(experiment: Experiment, tmp_path: Path) -> None:
    run(replace(experiment, dev=None, out=tmp_path / "run"), until="extract")
    dev = open_store(tmp_path / "run/activations/dev")
    train = open_store(tmp_path / "run/activations/train")
    assert dev.manifest.counts["sentences"] == 6
    assert train.manifest.counts["sentences"] == 55


def test_bad_settings_are_named(experiment: Experiment, tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="`fractions` must each be in"):
        replace(experiment, fractions=(20.0,))
    with pytest.raises(StoreError, match="is not a run folder"):
        read_experiment(tmp_path)
    with pytest.raises(SettingsError, match="Unknown settings colour"):
        Experiment.from_json({**experiment.as_json(), "colour": "red"})


def test_a_step_is_remembered_by_its_key(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    calls = []

    def work() -> None:
        calls.append(1)
        (tmp_path / "made").mkdir(exist_ok=True)

    assert folder.do("step", key_of(1, "a"), ["made"], work)
    assert not RunFolder(tmp_path).do("step", key_of(1, "a"), ["made"], work)
    assert RunFolder(tmp_path).do("step", key_of(2, "a"), ["made"], work)
    (tmp_path / "made").rmdir()
    assert RunFolder(tmp_path).do("step", key_of(2, "a"), ["made"], work)
    assert len(calls) == 3
    assert set(RunFolder(tmp_path).seconds) == {"step"}


def test_a_step_killed_while_its_files_are_removed_is_not_finished(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def work() -> None:
        (tmp_path / "made").mkdir(exist_ok=True)
        for name in ("a", "b"):
            (tmp_path / "made" / name).touch()

    def killed(path: Path) -> None:
        (path / "a").unlink()
        raise KeyboardInterrupt

    RunFolder(tmp_path).do("step", key_of(1), ["made"], work)
    monkeypatch.setattr(files, "rmtree", killed)
    with pytest.raises(KeyboardInterrupt):
        RunFolder(tmp_path).do("step", key_of(2), ["made"], work)
    monkeypatch.undo()
    assert RunFolder(tmp_path).do("step", key_of(1), ["made"], work)
    assert {entry.name for entry in (tmp_path / "made").iterdir()} == {"a", "b"}


@pytest.mark.slow
def test_labels_of_sentences(experiment: Experiment, tmp_path: Path) -> None:
    """A sentence has no type that training and test share, so there is no control task to be selective against."""
    of_sentences = replace(
        experiment,
        train=write_sentences(tmp_path / "train.tsv", 80, seed=0),
        dev=None,
        test=write_sentences(tmp_path / "test.tsv", 30, seed=1),
        tasks=("more=1",),
        max_train_per_class=20,
        out=tmp_path / "run",
    )
    results = run(of_sentences)
    entry = results["tasks"]["more"]
    assert (entry["unit"], entry["classes"]) == ("sentence", ["noun", "other"])
    assert entry["words"] == {"train": 40, "dev": 8, "test": 30}
    assert entry["control_accuracy"] is entry["selectivity"] is entry["control_duality_gap"] is None
    assert entry["word_type_majority"] is entry["unseen_words"] is None
    assert entry["minimal"]["control_accuracy"] is entry["minimal"]["selectivity"] is None
    assert entry["accuracy"]["test"] > 0.75
    store = open_store(of_sentences.out / "activations/train")
    assert (store.unit, store.word_count, store.manifest.recipe.pool) == ("sentence", 40, "sentence-mean")
    assert results["corpus"]["train"]["excluded"] == {"not drawn from its class": 32}
    assert "30 test sentences" in findings(results, "more").verdict
    assert "for every sentence is right on" in findings(results, "more").verdict
    for change, said in (
        ({"pool": "last"}, "Labels of sentences .*one of cls, sentence-mean, got last"),
        ({"heads": "2"}, "has labels of sentences .*Probe them in two runs"),
    ):
        wrong: dict = change
        with pytest.raises(SettingsError, match=said):
            run(replace(of_sentences, **wrong, max_train_per_class=None))


@pytest.mark.slow
def test_words_with_their_heads(experiment: Experiment, tmp_path: Path) -> None:
    files: dict = {
        part: write_heads(tmp_path / f"{part}.conllu", getattr(experiment, part)) for part in ("train", "dev", "test")
    }
    settings = replace(experiment, tasks=("deprel",), heads="head", out=tmp_path / "run", **files)
    results = run(settings)
    names = [f"{site} {layer}" for site in ("head.residual", "residual") for layer in range(3)]
    assert results["model"]["layer_names"] == names
    assert results["model"]["neurons"] == 2 * 3 * 32
    excluded = results["corpus"]["train"]["excluded"]
    assert excluded["root"] == 60  # of 61 sentences the first begins with a word without a piece
    assert excluded["no piece"] == excluded["head without a vector"] == 1
    assert results["tasks"]["deprel"]["words"]["train"] == results["corpus"]["train"]["words"] - sum(excluded.values())
    header, first = (settings.out / "rankings/deprel.csv").read_text("utf-8").splitlines()[:2]
    assert header.startswith("rank,site,layer,index")
    assert first.split(",")[1] in ("head.residual", "residual")
    assert "head" not in results["tasks"]
    assert read_experiment(settings.out).heads == "head"
    for change, said in (
        ({"tasks": ("head",)}, "`head` cannot be a task and the heads"),
        ({"labelled_only": True}, "Leave out `labelled_only`"),
        ({"pool": "none"}, "units are pieces"),
    ):
        wrong: dict = change
        with pytest.raises(SettingsError, match=said):
            replace(settings, **wrong)


def test_chosen_neurons_and_labelled_words(experiment: Experiment, tmp_path: Path) -> None:
    chosen = replace(
        experiment, tasks=("feats:Number",), neurons=(5, 1, 9), labelled_only=True, pool="max", out=tmp_path / "run"
    )
    assert run(chosen, until="extract") == {}
    store = open_store(chosen.out / "activations/test")
    assert store.usable.all()
    assert None not in store.labels("feats:Number")
    assert store.excluded["no label"] > 0
    assert store.axis().size == 9
    with pytest.raises(SettingsError, match=r"Labels of words .*one of last, first, mean, max, none, got cls"):
        run(replace(chosen, pool="cls"))
