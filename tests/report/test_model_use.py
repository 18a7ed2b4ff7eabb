"""What the page and the command line say of a model without its neurons."""

from typing import Any

from lca_jax.report.findings import findings
from lca_jax.report.model_use import draw_use, layers_of_sets
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
    assert layers_of_sets(entry) is None
    entry["model_ablation"]["layer_names"] = ["residual 0", "residual 1"]
    for place, one in enumerate(entry["model_ablation"]["points"]):
        one["layers"] = [one["neurons"] - place, place]
    found = layers_of_sets(entry)
    assert found is not None
    # Both fills remove the same neurons; here the numbers of the last are told.
    assert found == (100, ("top", "random", "bottom"), (("residual 0", (93, 91, 89)), ("residual 1", (7, 9, 11))))
    page = render_report(results, {})
    assert "The 100 neurons of each set, by layer" in page


def test_higher_perplexities_lie_higher() -> None:
    charts = draw_use(with_use(good())["tasks"]["upos"])
    assert [chart.fill for chart in charts] == ["zero", "mean"]
    heights = {line.name: line.marks[0].y for line in charts[0].lines}
    assert heights["top"] < heights["random"] < heights["bottom"] < charts[0].whole.position
    assert draw_use({"model_ablation": {"points": [point("top", "zero", 5, 3.0)]}}) == ()
