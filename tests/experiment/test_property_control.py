"""`lca control` in a run folder: what it writes and shows; and the lexicon that says which class a text has."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import lca_jax
from lca_jax import Corpus, ElasticNet, Experiment, run
from lca_jax.cli.main import main
from lca_jax.errors import CorpusError, DataError, SettingsError
from lca_jax.experiment.control_settings import Control
from lca_jax.experiment.property_control import control, read_sources
from lca_jax.interventions.control.lexicon import Lexicon
from lca_jax.models.load import load_model
from lca_jax.report.control_chart import control_lines, control_sentence, draw_control
from tests.experiment.files import write_odd_and_even
from tests.experiment.result_keys import keys_of
from tests.tiny_models import TINY, write_model

SHARES = ("reached", "clean", "erased", "kept", "error_rate", "clwv", "backward")


def test_the_command_writes_the_entry_and_draws_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("torch")
    write_model(tmp_path / "model", TINY["llama, grouped queries"])
    parts: dict[str, Any] = {
        part: write_odd_and_even(tmp_path / f"{part}.conllu", count, seed=seed)
        for seed, (part, count) in enumerate((("train", 30), ("dev", 10), ("test", 10)))
    }
    out = tmp_path / "run"
    settings = Experiment(
        model=str(tmp_path / "model"), out=out, draws=2, probe=ElasticNet(l1=1e-2, l2=1e-2),
        fractions=(0.25,), replicates=0, ranking="mass", **parts,
    )  # fmt: skip
    run(settings, until="probe")
    options = ["--task", "upos", "--source", "ODD", "--target", "EVEN", "--sizes", "2", "8", "--strengths", "0", "3"]
    main(["control", "--run", str(out), *options, "--random", "2", "--quiet"])
    said = capsys.readouterr().out
    assert "8 first neurons, strength 3" in said
    results = json.loads((out / "results.json").read_text("utf-8"))
    entry = results["tasks"]["upos"]["property_control"]
    assert (entry["output"], entry["source"], entry["draws"]) == ("next pieces", "ODD", 2)
    assert [(point["set"], point["neurons"], point["strength"]) for point in entry["points"]][:2] == [
        ("top", 2, 0.0),
        ("matched", 2, 0.0),
    ]
    documented = (Path(lca_jax.__file__).parent / "experiment" / "README.md").read_text("utf-8")
    for key in keys_of(entry, ("tasks", "TASK", "property_control")):
        general = [
            {"bleu": "METRIC", "chrf": "METRIC"}.get(part, "SHARE" if part in SHARES and "points[]" in key else part)
            for part in key
        ]
        assert f"| `{'.'.join(general)}` |" in documented, key
    # It is shown as long as the ranking is this one.
    assert run(settings)["tasks"]["upos"]["property_control"] == entry
    unknown = tmp_path / "odd.conllu"
    unknown.write_text("1\tw5\t_\tODD\t_\t_\t_\t_\t_\t_\n\n", encoding="utf-8")
    with pytest.raises(DataError, match=r"No word form of odd.conllu speaks for `upos` 'EVEN'.*: ODD\. Name another"):
        control(out, Control(task="upos", source="ODD", target="EVEN", lexicon=unknown))
    with pytest.raises(SettingsError, match=r"has no task 'xpos'\. It has: upos"):
        control(out, Control(task="xpos", source="ODD", target="EVEN"))


def test_what_is_translated_needs_labels_for_the_words_of_a_class_alone(tmp_path: Path) -> None:
    pytest.importorskip("torch")
    write_model(tmp_path / "model", TINY["bart, scaled embedding"])
    model, lines = load_model(tmp_path / "model", head=True), tmp_path / "lines.txt"
    lines.write_text("w5 w6 w7\nw8\n", encoding="utf-8")
    plain = Control(task="upos", source="ODD", target="EVEN", where="words")
    assert read_sources(model, lines, plain).sentences == (("w5", "w6", "w7"), ("w8",))
    labelled = write_odd_and_even(tmp_path / "labelled.conllu", 3, seed=0)
    assert read_sources(model, labelled, replace(plain, where="class")).labels["upos"]
    with pytest.raises((CorpusError, SettingsError)):
        read_sources(model, lines, replace(plain, where="class"))


def test_a_lexicon_knows_the_class_of_words_that_have_one() -> None:
    corpus = Corpus.from_words(
        [["dog", "dogs", "Dogs"], ["sheep", "sheep", "runs"]],
        {"number": [["Sing", "Plur", "Plur"], ["Sing", "Plur", None]]},
    )
    lexicon = Lexicon.of(corpus, "number")
    assert lexicon.classes == {"dog": "Sing", "dogs": "Plur"}
    assert lexicon.classify("Two DOGS, a dog and dogs.") == "Plur"
    assert lexicon.classify("a dog and dogs") is None
    assert lexicon.classify("sheep") is None
    with pytest.raises(DataError, match="has no labels of `tense`"):
        Lexicon.of(corpus, "tense")
    with pytest.raises(DataError, match="No word of words has one label of `number` in 90% of its places"):
        Lexicon.of(Corpus.from_words([["sheep", "sheep"]], {"number": [["Sing", "Plur"]]}), "number")
    with pytest.raises(SettingsError, match="must be two classes, got 'Sing' twice"):
        Control(task="number", source="Sing", target="Sing")
    with pytest.raises(SettingsError, match="`strengths` must be 0, got"):
        Control(task="number", source="Sing", target="Plur", shift="zero")


def test_the_chart_and_the_sentence() -> None:
    points = [
        {"set": of, "neurons": 10, "strength": strength, "reached": {"value": value, "interval": [value / 2, value]}}
        for of, strength, value in (
            ("top", 0.0, 0.5),
            ("top", 2.0, 1.0),
            ("matched", 0.0, 0.25),
            ("matched", 2.0, 0.25),
        )
    ]
    claim = {"clean": False, "excess": 0.5, "interval": [0.25, 0.75], "outcome": "holds"}
    found = {"output": "translations", "source": "Past", "target": "Pres", "shift": "clamp", "points": points}
    entry = {"property_control": {**found, "claims": [claim]}}
    (chart,) = draw_control(entry)
    top, matched = chart.lines
    # From half of the height to its upper end; a quarter of it for random neurons.
    height = chart.frame.bottom - chart.frame.top
    assert [mark.y for mark in top.marks] == [chart.frame.bottom - height / 2, chart.frame.top]
    assert [mark.y for mark in matched.marks] == [chart.frame.bottom - height / 4] * 2
    assert control_sentence(entry).startswith("What the model says follows these neurons: +50 % of the translations")
    assert control_lines(entry)[0] == "10 first neurons, strength 0: 50.0% Pres"
    points[0] |= {"clean": {"value": 0.25}, "quality": {"bleu": {"value": 61.25}}}
    told = control_lines(entry)[0].partition(": ")[2]
    assert told == "50.0% Pres, 25.0% Pres and all else the same, BLEU 61.2"
    assert (draw_control({}), control_sentence({}), control_lines({})) == ((), "", [])
