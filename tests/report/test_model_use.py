"""What the page and the command line say of a model without its neurons."""

from typing import Any

from lca_jax.report.findings import findings
from lca_jax.report.model_use import draw_use, draw_uses, layers_of_sets, use_sentence
from lca_jax.report.page import render_report
from tests.report.results import beaten, good


def claim(fill: str, outcome: str, excess: float, low: float, high: float) -> dict[str, Any]:
    return {
        "stronger": "top", "weaker": "random", "fill": fill, "outcome": outcome, "excess": excess,
        "interval": [low, high],
    }  # fmt: skip


def point(of: str, fill: str, neurons: int, value: float) -> dict[str, Any]:
    return {"set": of, "fill": fill, "neurons": neurons, "value": value, "interval": [0.9 * value, 1.1 * value]}


def with_use(results: dict[str, Any], *claims: dict[str, Any]) -> dict[str, Any]:
    results["tasks"]["upos"]["model_ablation"] = {
        "measure": "perplexity a word", "text": "wiki.txt", "lost": "log", "draws": 5, "whole": 50.0,
        "points": [
            point(of, fill, neurons, value)
            for fill in ("zero", "mean")
            for of, value in (("top", 200.0), ("random", 100.0), ("bottom", 60.0))
            for neurons in (10, 100)
        ],
        "claims": list(claims),
    }  # fmt: skip
    return results


def test_the_sentence_says_whether_the_model_uses_the_neurons() -> None:
    both = (claim("zero", "holds", 0.5, 0.4, 0.6), claim("mean", "holds", 0.25, 0.1, 0.4))
    assert findings(with_use(good(), *both), "upos").use == (
        "The model uses these neurons more than others (perplexity a word of wiki.txt): set to zero, removing the "
        "first neurons does more harm than removing random ones (+0.5 nats a word, 95% interval +0.4 to +0.6); set to "
        "their mean, removing the first neurons does more harm than removing random ones (+0.25 nats a word, 95% "
        "interval +0.1 to +0.4)."
    )
    less = findings(with_use(good(), claim("zero", "fails", -0.5, -0.6, -0.4)), "upos").use
    assert less.startswith("The model needs these neurons less than others")
    assert "\N{MINUS SIGN}0.5 nats" in less
    unknown = findings(with_use(good(), claim("zero", "within noise", 0.1, -0.2, 0.4)), "upos").use
    assert unknown.startswith("That the model uses these neurons more than others is not shown")
    mixed = findings(with_use(good(), both[0], claim("mean", "fails", -1, -2, -0.5)), "upos").use
    assert mixed.startswith("Whether the model uses these neurons more than others depends on what replaces them")
    assert not findings(with_use(beaten(), *both), "upos").use
    assert not findings(good(), "upos").use


def test_the_page_has_a_curve_for_every_fill() -> None:
    page = render_report(with_use(good(), claim("zero", "holds", 0.5, 0.4, 0.6)), {})
    assert "Does the model use them?" in page
    assert "top, 100 removed: 200" in page
    assert "the model as it is 50" in page
    for results in (good(), with_use(beaten())):
        assert "Does the model use them?" not in render_report(results, {})


def test_the_layers_of_every_set_stand_beside_its_curve() -> None:
    results = with_use(good())
    entry = results["tasks"]["upos"]
    assert layers_of_sets(entry["model_ablation"]) is None
    entry["model_ablation"]["layer_names"] = ["residual 0", "residual 1"]
    for place, one in enumerate(entry["model_ablation"]["points"]):
        one["layers"] = [one["neurons"] - place, place]
    found = layers_of_sets(entry["model_ablation"])
    assert found is not None
    # Both fills remove the same neurons; here the numbers of the last are told.
    assert found == (100, ("top", "random", "bottom"), (("residual 0", (93, 91, 89)), ("residual 1", (7, 9, 11))))
    page = render_report(results, {})
    assert "The 100 neurons of each set, by layer" in page


def test_higher_perplexities_lie_higher() -> None:
    charts = draw_use(with_use(good())["tasks"]["upos"]["model_ablation"])
    assert [chart.fill for chart in charts] == ["zero", "mean"]
    heights = {line.name: line.marks[0].y for line in charts[0].lines}
    assert heights["top"] < heights["random"] < heights["bottom"] < charts[0].whole.position
    assert draw_use({"points": [point("top", "zero", 5, 3.0)]}) == ()


def test_the_page_shows_every_measurement() -> None:
    results = with_use(good(), claim("zero", "holds", 0.5, 0.4, 0.6))
    entry = results["tasks"]["upos"]
    first = {**entry["model_ablation"], "name": "perplexity a word of wiki.txt", "probe": None}
    second = {**first, "name": "perplexity a word of news.txt (random 9)", "text": "news.txt", "draws": 9}
    entry |= {"model_ablation": second, "model_ablations": [first, second]}
    page = render_report(results, {})
    assert page.count("Does the model use them?") == 1
    assert [page.count(f"<h4>{one['name']}</h4>") for one in (first, second)] == [1, 1]
    assert page.index("5 random sets") < page.index(second["name"]) < page.index("9 random sets")
    said = findings(results, "upos").use
    assert said.count("The model uses these neurons more than others") == 2
    # One measurement needs no name, and older results have one at most.
    entry["model_ablations"] = [first]
    assert "<h4>" not in render_report(results, {})
    del entry["model_ablations"]
    assert [use.name for use in draw_uses(entry)] == [second["name"]]


def test_a_probe_says_nothing_of_what_the_model_uses() -> None:
    results = with_use(good(), claim("zero", "holds", 0.5, 0.4, 0.6))
    found = results["tasks"]["upos"]["model_ablation"]
    found |= {"measure": "accuracy on xpos in residual 12", "text": "test.conllu", "lost": "drop"}
    older = use_sentence(found)
    assert older.startswith(
        "What a probe of the last layer reads of xpos depends on these neurons more than on others (accuracy on xpos "
        "in residual 12 of test.conllu): "
    )
    found |= {"name": "accuracy on xpos in residual 12 of test.conllu", "probe": "xpos"}
    assert use_sentence(found) == older
    page = render_report(results, {})
    assert "Does the last layer depend on them?" in page
    assert "what the model does with that layer is not measured" in page
    assert "The model uses" not in page
    for measure in ("accuracy on minimal pairs", "accuracy of the classifier on upos"):
        assert use_sentence(
            with_use(good(), claim("zero", "holds", 0.5, 0.4, 0.6))["tasks"]["upos"]["model_ablation"]
            | {"measure": measure}
        ).startswith("The model uses these neurons more than others")
