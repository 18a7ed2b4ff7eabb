"""`lca ablate-model` in a run folder: what it writes, what it shows, and for how long."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import lca_jax
from lca_jax import ElasticNet, Experiment, Tuning, classify, load_model, read_corpus, run, tune
from lca_jax.axes import NeuronAxis
from lca_jax.cli.main import main
from lca_jax.errors import CorpusError, ModelError, SettingsError, StoreError
from lca_jax.experiment.ablation_settings import ModelAblation
from lca_jax.experiment.inputs import Inputs
from lca_jax.experiment.last_layer import probe_of_last_layer
from lca_jax.experiment.model_ablation import ablate_model
from lca_jax.probing.probe_set import load_probes
from tests.experiment.files import write_odd_and_even
from tests.experiment.result_keys import keys_of
from tests.tiny_models import TINY, write_model


@pytest.fixture(scope="module")
def experiment(tmp_path_factory: pytest.TempPathFactory) -> Experiment:
    pytest.importorskip("torch")
    folder = tmp_path_factory.mktemp("ablated")
    write_model(folder / "model", TINY["llama, grouped queries"])
    parts: dict[str, Any] = {
        part: write_odd_and_even(folder / f"{part}.conllu", count, seed=seed)
        for seed, (part, count) in enumerate((("train", 30), ("dev", 10), ("test", 10)))
    }
    settings = Experiment(
        model=str(folder / "model"), out=folder / "run", draws=2, probe=ElasticNet(l1=1e-2, l2=1e-2),
        fractions=(0.25,), **parts,
    )  # fmt: skip
    run(settings, until="probe")
    (folder / "text.txt").write_text("w5 w6 w7 w8\nw9 w10 w4 w33 w12\nw30 w31 w20\n")
    (folder / "pairs.jsonl").write_text(
        '{"sentence_good": "w5 w6 w7", "sentence_bad": "w5 w9 w7", "UID": "one"}\n'
        '{"sentence_good": "w8 w6 w7", "sentence_bad": "w8 w9 w7", "UID": "two"}\n'
    )
    return settings


def test_the_command_writes_the_entry_and_says_the_verdict(
    experiment: Experiment, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = experiment.out.parent
    options = ["--task", "upos", "--text", str(folder / "text.txt"), "--counts", "2", "8", "--random", "2", "--quiet"]
    main(["ablate-model", "--run", str(experiment.out), *options])
    said = capsys.readouterr().out
    assert "top hurts more than random" in said
    results = json.loads((experiment.out / "results.json").read_text("utf-8"))
    entry = results["tasks"]["upos"]["model_ablation"]
    assert (entry["measure"], entry["text"], entry["sentences"]) == ("perplexity a word", "text.txt", 3)
    assert [point["neurons"] for point in entry["points"] if point["set"] == "top"] == [2, 8, 2, 8]
    documented = (Path(lca_jax.__file__).parent / "experiment" / "README.md").read_text("utf-8")
    for key in keys_of(entry, ("tasks", "TASK", "model_ablation")):
        assert f"| `{'.'.join(key)}` |" in documented, key
    assert entry["name"] == "perplexity a word of text.txt (counts 2 8, random 2)"


def test_another_request_stands_beside_the_first_and_the_same_one_replaces_itself(experiment: Experiment) -> None:
    folder = experiment.out.parent
    file = experiment.out / "model_ablation" / "upos.json"
    file.unlink(missing_ok=True)
    text = ModelAblation(task="upos", text=folder / "text.txt", counts=(4,), fill=("zero",), random=2)
    pairs = replace(text, text=None, pairs=folder / "pairs.jsonl")
    shown = []
    for settings in (text, pairs, replace(text, counts=(5,)), text):
        entry = ablate_model(experiment.out, settings)["tasks"]["upos"]
        shown.append([one["name"] for one in entry["model_ablations"]])
        assert entry["model_ablation"] == entry["model_ablations"][-1]
    first, second, third = (
        f"{what} ({counts}, fill zero, random 2)"
        for what, counts in (
            ("perplexity a word of text.txt", "counts 4"),
            ("accuracy on minimal pairs of pairs.jsonl", "counts 4"),
            ("perplexity a word of text.txt", "counts 5"),
        )
    )
    assert shown == [[first], [first, second], [first, second, third], [second, third, first]]
    page = (experiment.out / "report" / "index.html").read_text("utf-8")
    for name in (first, second, third):
        assert (f"<h4>{name}</h4>" in page) == ("Does the model use them?" in page)


def test_the_file_of_an_older_version_is_read_and_kept(experiment: Experiment) -> None:
    settings = ModelAblation(
        task="upos", text=experiment.out.parent / "text.txt", counts=(4,), fill=("zero",), random=2
    )
    entry = ablate_model(experiment.out, settings)["tasks"]["upos"]["model_ablation"]
    file = experiment.out / "model_ablation" / "upos.json"
    key = json.loads(file.read_text("utf-8"))["measured"][-1]["key"]
    older = {name: value for name, value in entry.items() if name not in ("name", "probe")}
    file.write_text(json.dumps({"key": key, "entry": older}))
    found = run(experiment)["tasks"]["upos"]
    assert found["model_ablation"] == older
    assert found["model_ablations"] == [older]
    assert ablate_model(experiment.out, settings)["tasks"]["upos"]["model_ablations"] == [older, entry]
    file.unlink()


def test_results_have_it_as_long_as_the_run_has_the_ranking(experiment: Experiment) -> None:
    pairs = experiment.out.parent / "pairs.jsonl"
    settings = ModelAblation(task="upos", pairs=pairs, counts=(4,), fill=("zero",), random=2)
    results = ablate_model(experiment.out, settings)
    entry = results["tasks"]["upos"]["model_ablation"]
    assert set(entry["whole_by_group"]) == {"one", "two"}
    again = run(experiment)
    assert again["tasks"]["upos"]["model_ablation"] == entry
    other = run(replace(experiment, probe=ElasticNet(l1=2e-2, l2=1e-2)))
    assert "model_ablation" not in other["tasks"]["upos"]
    assert run(experiment)["tasks"]["upos"]["model_ablation"] == entry
    file = experiment.out / "model_ablation" / "upos.json"
    for damaged in ('{"key": 3}', '{"measured": [1]}', '{"measured": [{"key": "a"}]}'):
        file.write_text(damaged)
        with pytest.raises(StoreError, match="start `lca ablate-model` again"):
            run(experiment)
    file.unlink()


def test_the_classifier_of_a_tuned_model_is_measured(
    experiment: Experiment, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    corpora = [read_corpus(str(file), tasks=["upos"]) for file in (experiment.train, experiment.test)]
    settings = Tuning(epochs=1, batch=8, rate=1e-2)
    tuned = tune(load_model(experiment.model), corpora[0], task="upos", out=tmp_path / "tuned", settings=settings)
    of_tuned = replace(experiment, model=str(tmp_path / "tuned"), out=tmp_path / "run")
    run(of_tuned, until="probe")
    options = ["--task", "upos", "--classified", str(experiment.test), "--counts", "4", "--random", "2", "--quiet"]
    main(["ablate-model", "--run", str(of_tuned.out), *options])
    entry = json.loads((of_tuned.out / "results.json").read_text())["tasks"]["upos"]["model_ablation"]
    assert entry["measure"] == "accuracy of the classifier on upos"
    assert entry["whole"] == classify(tuned.model, corpora[1]).accuracy
    assert entry["text"] == "test.conllu"
    assert "(accuracy of the classifier on upos of test.conllu)" in capsys.readouterr().out
    with pytest.raises(ModelError, match="has no classifier, so `classified` measures nothing"):
        ablate_model(experiment.out, ModelAblation(task="upos", classified=tmp_path / "none.conllu"))
    with pytest.raises(CorpusError, match="none"):
        ablate_model(of_tuned.out, ModelAblation(task="upos", classified=tmp_path / "none.conllu"))


def test_a_probe_of_the_last_layer_is_measured_without_neurons_below(experiment: Experiment) -> None:
    settings = ModelAblation(task="upos", probe="upos", counts=(4,), fill=("zero",), random=2, max_words=None)
    entry = ablate_model(experiment.out, settings)["tasks"]["upos"]
    found = entry["model_ablation"]
    assert found["measure"] == "accuracy on upos in residual 2"
    assert found["text"] == "test.conllu"
    assert found["whole"] == pytest.approx(entry["by_layer"][2]["accuracy"], abs=0.02)
    assert all(sum(point["layers"]) == 4 and point["layers"][2] == 0 for point in found["points"])
    with pytest.raises(SettingsError, match=r"has no task 'xpos' to probe\. It has: upos"):
        ablate_model(experiment.out, ModelAblation(task="upos", probe="xpos"))
    probes = load_probes(experiment.out / "probes")
    of_one_layer = replace(probes, axis=NeuronAxis(blocks=probes.axis.blocks[:1]))
    with pytest.raises(SettingsError, match="removes neurons below it; there are residual 0"):
        probe_of_last_layer(experiment, Inputs(experiment, None), of_one_layer, "upos", max_words=None)


def test_what_cannot_be_measured_is_said(experiment: Experiment, tmp_path: Path) -> None:
    text = experiment.out.parent / "text.txt"
    with pytest.raises(SettingsError, match=r"Give one of .* `classified`, `probe`, got none"):
        ModelAblation(task="upos")
    with pytest.raises(SettingsError, match=r"has no task 'xpos'\. It has: upos"):
        ablate_model(experiment.out, ModelAblation(task="xpos", text=text))
    (tmp_path / "pairs.tsv").write_text("one\ttwo\n\nthree\nfour\t \n")
    with pytest.raises(CorpusError, match=r"(?s)pairs.tsv:3: must be a source, a tab and .*pairs.tsv:4: must be"):
        ablate_model(experiment.out, ModelAblation(task="upos", translations=tmp_path / "pairs.tsv"))
