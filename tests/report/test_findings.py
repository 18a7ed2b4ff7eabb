"""Every sentence about a result, on a good one, on one that its baselines beat, and on one with undefined parts."""

import copy
import json
import re
from typing import Any

import pytest

from lca_jax.cli.show import show
from lca_jax.report.findings import CORRELATION, Findings, beats_baselines, findings
from lca_jax.report.page import render_report
from tests.report.results import RESULTS, beaten, good, undefined

SPACE = "\N{NO-BREAK SPACE}"
MINUS = "\N{MINUS SIGN}"
SALIENT = ("salient", "smallest set", "first neurons", "suffice", "lie around", "Near copies", "rankings/")


def said_of(results: dict[str, Any]) -> Findings:
    return findings(results, "upos")


def test_a_good_result() -> None:
    assert said_of(good()) == (
        "The probe of upos beats its baselines: it is right on 87.6% of 2,003 test words (95% interval 86.1% to "
        "89.2%). The most frequent class (NOUN) for every word is right on 17.1%, the word-type majority, each type's "
        "most frequent training class, on 76.2% and the same probe learns random labels of word types to 54.3%. Its "
        "smallest lead, over the word-type majority, is +11.4 points (95% interval +9.7 to +13.2).",
        "37 of 2,003 test words have a label that training lacks and count as errors: INTJ (31) and SYM (6). On the "
        "307 test words of types that training lacks the probe is right on 70.7% (95% interval 65.3% to 75.5%), on the "
        "1,696 of types that it has on 90.7% (95% interval 89.3% to 92.1%).",
        "Selectivity, the accuracy less that on random labels, is +33.3 points (95% interval +30.8 to +35.7): the "
        "accuracy is not only that of learning words by heart.",
        "",  # the penalty lies inside the grid
        "",  # these results name no ranking
        "With 20% of the neurons kept and the others held at their training mean, the probe is right on 71.5% with the "
        "top of the ranking, 51.6% ± 3.2% with random neurons (5 draws) and 21.8% with the bottom.",
        "",  # nothing was measured on halves
        "The first 5 neurons (20.8% of all) are the smallest set tried whose own probe keeps 99.0% of the gain of "
        "the probe of all over the best constant answer (50.0%) on dev, where it was chosen. On test it is right on "
        f"84.7%, 2.9{SPACE}points less than the probe of all (95% interval +1.8 to +4.1).",
        "These neurons lie around layer 0.7 and have their largest share (50%) in residual 0. The weights of NOUN take "
        "most of them (4), those of VERB fewest (2). A neuron with weight for any class has it for 1.5 classes on "
        "average.",
        "",  # nothing was measured in the model
    )


def test_the_ranking_and_a_penalty_on_the_edge_of_the_grid_are_named() -> None:
    results = good()
    entry = results["tasks"]["upos"]
    entry |= {"ranking": "bagged", "reliability": {"replicates": 10}, "search_edges": ["l2 = 1 is the largest of 5"]}
    said = said_of(results)
    assert "mean magnitude of their weights over all classes and 10 half-samples" in said.ranked_by
    assert said.penalty.startswith("The chosen penalty lies on the edge of the grid (l2 = 1 is the largest of 5)")
    entry["ranking"] = "mass"
    assert "weight mass of one probe, as the papers publish it" in said_of(results).ranked_by
    entry["lead"]["most_frequent_class"]["interval"] = [-0.1, 0.1]
    assert not said_of(results).ranked_by
    assert said_of(results).penalty


def test_a_result_that_its_baselines_beat_begins_with_that_and_names_no_neuron() -> None:
    said = said_of(beaten())
    assert said.verdict == (
        "The probe of upos does not beat its baselines: it is right on 57.2% of 2,003 test words (95% interval 53.1% "
        f"to 60.8%), which is not reliably more than the most frequent class ({MINUS}11.4 points, 95% interval "
        f"{MINUS}15.1 to {MINUS}8.2). The most frequent class (NOUN) for every word is right on 68.6%, the word-type "
        "majority, each type's most frequent training class, on 43.1% and the same probe learns random labels of word "
        "types to 54.3%. So no neuron is presented as salient, and no layer: the ranking orders what a probe reads "
        "that knows no more than a baseline does."
    )
    assert said.ranking == said.minimal == said.layers == ""
    assert not beats_baselines(beaten()["tasks"]["upos"])


def test_a_result_with_negative_selectivity_and_undefined_parts() -> None:
    said = said_of(undefined())
    assert "does not beat its baselines" in said.verdict
    assert f"than the control task (random labels) ({MINUS}5.1 points" in said.verdict
    assert said.unseen == ""
    assert said.selectivity == (
        f"Selectivity, the accuracy less that on random labels, is {MINUS}5.1 points (95% interval {MINUS}8.3 to "
        f"{MINUS}2.1). It is negative: the probe learns random labels better than the task, so its accuracy does not "
        "show that the model encodes the task."
    )
    around_zero = good()
    around_zero["tasks"]["upos"]["lead"]["control"] = {"difference": 0.01, "interval": [-0.02, 0.04]}
    assert "The interval has zero in it" in said_of(around_zero).selectivity
    nothing = findings({"tasks": {"upos": {}}}, "upos")
    assert nothing.lines == []
    only = findings({"tasks": {"upos": {"accuracy": {"test": 0.5}}}}, "upos")
    assert only.lines == ["The probe is right on 50.0% of the test words. Whether it beats baselines is not known."]


@pytest.mark.parametrize(
    ("change", "expected", "absent"),
    [
        ({"masked_to": "zero"}, "the others held at zero", "training mean"),
        ({"minimal": None}, "On dev all neurons are no better than the best constant answer", "the smallest set tried"),
        ({"minimal": {"neurons": 24, "drop": 0.01}},
         "On dev no smaller set than all 24 neurons keeps 99.0% of the gain", "On test it"),
        (
            {"minimal": {"neurons": 5, "drop": 0.01, "accuracy": 0.9, "loss": -0.004, "loss_interval": [-0.01, 0.002]}},
            f"0.4{SPACE}points more than the probe of all (95% interval {MINUS}0.2 to +1.0)",
            "less than the probe",
        ),
        ({"keep": {"mask": [{"fraction": 0.2, "top": 0.5, "random": 0.5, "random_std": 0.1, "bottom": 0.4}]}},
         "At this size the top is not clearly above random neurons.", "1 draws"),
        ({"unseen_labels": {"test": {"X": 1}}}, "1 of 2,003 test word has a label that training lacks and counts as an "
         "error: X (1).", "words have"),
        ({"per_class": {"A": {"neurons": 3, "words": 0}}}, "lie around", "take most of them"),
        ({"unit": "sentence"}, "so sentences have none, and no selectivity", "learning words by heart"),
        ({"layer_names": ["residual 0", "mlp 0", "mlp 1"]}, "These neurons have their largest share", "lie around"),
    ],
)  # fmt: skip
def test_sentences_follow_their_numbers(change: dict[str, Any], expected: str, absent: str) -> None:
    results = good()
    results["tasks"]["upos"].update(change)
    text = " ".join(said_of(results).lines)
    assert expected in text
    assert absent not in text


def text_of(page: str) -> str:
    return " ".join(re.sub(r"<[^>]*>", " ", re.sub(r"(?s)<style>.*?</style>", "", page)).split())


@pytest.mark.parametrize("make", [beaten, undefined])
def test_the_page_shows_no_neurons_of_a_probe_that_knows_no_more_than_a_baseline(make) -> None:
    page = render_report(make(), {}, links={"upos": "../rankings/upos.csv"})
    glossary = page.index("What the words mean")
    shown = page[:glossary]
    assert "does not beat its baselines" in shown
    for word in SALIENT[1:]:
        assert word not in shown, word
    assert "2:7" not in text_of(shown)


def test_the_page_prints_the_sentences_and_says_that_they_are_correlations() -> None:
    for make in (good, beaten, undefined):
        page = text_of(render_report(make(), {})).replace("&#39;", "'")
        for line in said_of(make()).lines:
            assert " ".join(line.split()) in page, line
        assert CORRELATION in page


@pytest.mark.parametrize(
    "phrase",
    ["always saying the most", "set to zero", "learns by heart", "neurons that suffice", "needs most", "serves"],
)
def test_no_result_brings_back_what_was_false(phrase: str) -> None:
    for make in (good, beaten, undefined):
        assert phrase not in text_of(render_report(make(), {}))


def test_show_speaks_of_the_last_run_alone(tmp_path, capsys) -> None:
    results = good()
    results["tasks"]["bad"] = copy.deepcopy(beaten()["tasks"]["upos"])
    config = {"model": "m", "train": "t", "dev": None, "test": "s", "out": "o", "tasks": ["upos"], "probe": {}}
    steps = {"report": {"key": "abc", "seconds": 1.0}}
    inputs = {"model": {"name": "m", "fingerprint": "f00d"}}
    for name, content in (("config", config), ("results", results), ("steps", steps), ("inputs", inputs)):
        (tmp_path / f"{name}.json").write_text(json.dumps(content))
    show(str(tmp_path))
    said = capsys.readouterr().out
    assert (
        "upos: accuracy 0.876 (most frequent class 0.171, word-type majority 0.762, selectivity 0.333), minimal set 5 "
        "of 24 neurons"
    ) in said
    assert "bad: accuracy 0.572 (most frequent class 0.686" in said
    assert "), does not beat its baselines" in said
    for name, content in (
        ("steps", {"report": {"key": "other", "seconds": 1.0}}),
        ("steps", {"report": {"key": "abc", "seconds": 1.0}, "probe": {"key": "b", "seconds": None}}),
        ("inputs", {"model": {"name": "n", "fingerprint": "beef"}}),
    ):
        before = (tmp_path / f"{name}.json").read_text()
        (tmp_path / f"{name}.json").write_text(json.dumps(content))
        show(str(tmp_path))
        said = capsys.readouterr().out
        assert "not of the last run here" in said
        assert "accuracy" not in said
        (tmp_path / f"{name}.json").write_text(before)


def test_the_fixture_is_not_changed_by_its_makers() -> None:
    assert good() == RESULTS
