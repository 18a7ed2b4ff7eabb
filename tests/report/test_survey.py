"""The page of a survey: what its sentences say for each outcome, and its figures."""

import base64
import hashlib
import re
from copy import deepcopy

import pytest

from lca_jax.errors import DataError
from lca_jax.report.survey import render_survey, survey_lines
from lca_jax.report.survey_findings import specific_sentence, told_of_languages, told_of_models
from lca_jax.report.survey_places import contrast_sentence, redundancy_lines
from lca_jax.report.tree_chart import draw_tree
from tests.report.survey_results import (
    LESS,
    NONE,
    REDUNDANCY,
    SHARED,
    SPECIFIC,
    cell,
    of_task,
    pair,
    results,
    sharing,
)


def verdict(*verdicts: str) -> str:
    return told_of_languages(of_task(*verdicts), model="m", task="upos", at=0.05).verdict


def test_the_first_sentence_says_what_was_found_or_that_nothing_was() -> None:
    assert verdict(NONE, NONE, NONE).startswith("No pair of languages was found to share more neurons")
    assert verdict(SHARED, SHARED, SHARED).startswith("All 3 pairs of languages share more neurons for upos in m than")
    assert "as far as these words tell" in verdict(SHARED, SHARED, SHARED)
    assert "but fewer than the reliability of their rankings allows" in verdict(LESS, LESS, LESS)
    assert verdict(LESS, SHARED, NONE).startswith("2 of 3 pairs of languages share more")
    assert "1 of these 2 share fewer" in verdict(LESS, SHARED, NONE)


def test_what_is_left_out_is_said_and_nothing_is_made_of_one_language() -> None:
    entry = of_task(SHARED, SHARED, SHARED) | {"compared": ["en"], "left_out": ["de", "fr"], "sharing": None}
    told = told_of_languages(entry | {"transfer": None}, model="m", task="upos", at=0.05)
    assert told.verdict.startswith("Nothing was found for upos in m")
    assert told.lines == (
        "Left out, since no neurons are presented of a probe that does not beat its baselines: de and fr.",
    )
    lines = " ".join(told_of_languages(of_task(LESS, LESS, NONE), model="m", task="upos", at=0.05).lines)
    unsure = of_task(NONE, NONE, NONE)
    unsure["sharing"]["neurons"]["pairs"][0]["ceiling"] = 0.1
    told = told_of_languages(unsure, model="m", task="upos", at=0.05)
    assert "not clearly above chance, so nothing can be told, for en and de." in told.lines[1]
    for said in (
        "Of the first 50 neurons (5%), probes of two languages share 40.0% in the mean of the pairs (40.0% to 40.0%)",
        "A pair shares 5.0 points less than its ceiling, in the mean; the 95% interval of one pair is 7.0 points",
        "random sets 5.0%, and 8.0% in the mean",
        "12 neurons are among the first 50 of all 3 languages; 0.12 are expected of random sets (p < 0.001)",
        "reads another with an accuracy of 70.0%",
        "All 6 transfers beat their baselines, and all 6 are worse",
    ):
        assert said in lines


def test_specific_neurons_stand_beside_shuffled_languages() -> None:
    assert "they are specific to languages (en 4, de 4, fr 4" in specific_sentence(SPECIFIC)
    assert specific_sentence({**SPECIFIC, "p": 0.3}).startswith("No language-specific neurons were found.")
    assert "No neuron is active often enough" in specific_sentence({**SPECIFIC, "neurons": 0})


def test_models_are_told_apart_by_their_intervals_alone() -> None:
    cells = {"m": cell(0.9)["tasks"]["upos"], "n": cell(0.8)["tasks"]["upos"]}
    told = told_of_models(cells, corpus="en", task="upos", at=0.05)
    assert told.verdict == "For upos on en m is the most accurate, 90.0%; its interval lies above that of n."
    assert "shallower than random neurons (0.5)" in told.lines[1]
    near = {"m": cell(0.9)["tasks"]["upos"], "n": cell(0.88)["tasks"]["upos"]}
    assert "no difference was found" in told_of_models(near, corpus="en", task="upos", at=0.05).verdict
    alone = {"m": cell(0.9)["tasks"]["upos"], "n": cell(beats=False)["tasks"]["upos"]}
    told = told_of_models(alone, corpus="en", task="upos", at=0.05)
    assert "m alone beats its baselines, 90.0%" in told.verdict
    assert told.lines[-1].endswith("do not beat their baselines: n.")
    none = {"m": cell(beats=False)["tasks"]["upos"]}
    assert told_of_models(none, corpus="en", task="upos", at=0.05).verdict.startswith("No model beats its baselines")


def test_the_page_has_all_of_it_and_obeys_no_name() -> None:
    page = render_survey(results(LESS, SHARED, NONE))
    for text in (
        "▽",
        "✕",
        "80%",
        "en and de: distance 20.0%, in 80% of the divisions",
        "&lt;b&gt;",
        "1,000 are in all",
    ):
        assert text in page
    assert "<b>" not in page.partition("</style>")[2].replace("<figcaption><b>", "")
    (script,) = re.findall(r"<script[^>]*>(.*?)</script>", page, flags=re.DOTALL)
    assert f"script-src 'sha256-{base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()}'" in page
    assert len(re.findall("<svg", page)) > 4
    left_out = deepcopy(results(LESS, SHARED, NONE))
    left_out["cells"]["m"]["en"] = cell(beats=False)
    assert "so no neurons are presented" in render_survey(left_out)
    assert survey_lines(left_out)[0].startswith("2 of 3 pairs")
    with pytest.raises(DataError, match="must have format 2, got 1"):
        render_survey({**left_out, "format": 1})


def test_a_tree_joins_the_rows_of_its_members() -> None:
    chart = draw_tree(sharing(SHARED, SHARED, SHARED)["map"])
    assert chart is not None
    rows = {leaf.label: leaf.position for leaf in chart.leaves}
    assert rows["fr"] < rows["en"] < rows["de"]
    first, last = chart.branches
    assert first.y == pytest.approx((rows["en"] + rows["de"]) / 2)
    assert last.y == pytest.approx((rows["fr"] + first.y) / 2)
    assert first.x < last.x
    assert (first.label, last.label) == ("80%", "")
    assert draw_tree(None) is None


def test_classes_tasks_and_what_could_be_spared_are_told() -> None:
    found = results(LESS, SHARED, NONE) | {"redundancy": {"m": {"en": REDUNDANCY}}}
    found["questions"] = [*found["questions"], "redundancy"]
    shared = {"pairs": [pair("upos", "feats:Number", LESS)]}
    found["cells"]["m"]["de"] = cell() | {"tasks_shared": shared}
    page, lines = render_survey(found), "\n".join(survey_lines(found))
    for text in (
        "3 disjoint sets of neurons each do upos (at least 92.0% on dev, 93.0% with all): 40, 55, 90 neurons; no more",
        "Of 5 random sets of the size of the first, 1 do.",
        "The lowest 2 of 2 layers together are enough for upos. One neuron of each cluster (412) reaches 91.0%, not",
        "1,000 neurons are 412 clusters",
        "Neighbouring layers have a CKA of 0.83 to 0.83",
    ):
        assert text in page
        assert text in lines
    assert "open ones (nouns, verbs, …) have clearly more neurons in en, de and fr" in page
    assert "their neurons lie not clearly deeper or shallower in en, de and fr" in page
    assert (
        "de: upos and feats:Number share 40.0% of their first 50 neurons, less than reliability allows (ceiling 45.0%"
        in page
    )
    assert "<small>0.60 (0.50 to 0.70)</small>" in page
    one = contrast_sentence({"en": found["cells"]["m"]["en"]["tasks"]["upos"]})
    assert "9 (8 to 10) and 2 (1 to 3) a class, in the mean" in one
    assert redundancy_lines(REDUNDANCY | {"tasks": {}})[0].startswith("No task has a smallest set")
