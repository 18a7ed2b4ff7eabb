"""What the page and the command line say of the reliability of a ranking."""

from typing import Any

from lca_jax.axes import Neuron
from lca_jax.descriptors.top_words import NeuronCard, TopWord
from lca_jax.report.findings import findings
from lca_jax.report.page import render_report
from tests.report.results import beaten, good

RELIABILITY: dict[str, Any] = {
    "replicates": 20,
    "kind": "halves",
    "overlap": [
        {
            "share": 0.01, "neurons": 27, "overlap": 0.2213, "overlap_std": 0.0511, "chance": 0.01,
            "chance_high": 0.037, "mean_layer": 1.77, "mean_layer_interval": [1.31, 2.09],
        },
        {
            "share": 0.05, "neurons": 134, "overlap": 0.3371, "overlap_std": 0.0222, "chance": 0.05,
            "chance_high": 0.0896, "mean_layer": 1.98, "mean_layer_interval": [1.71, 2.23],
        },
    ],
    "selected": 269,
    "threshold": 0.9,
    "stable_neurons": 31,
    "error_bound": 33.7,
}  # fmt: skip


def with_reliability(results: dict[str, Any], **changes: object) -> dict[str, Any]:
    results["tasks"]["upos"]["reliability"] = {**RELIABILITY, **changes}
    return results


def test_the_sentence_says_what_halves_share_beside_chance() -> None:
    said = findings(with_reliability(good()), "upos")
    assert said.reliability == (
        "Probes trained on two halves of the training sentences share 33.7% of their first 5% of the neurons, where "
        "random orders share 5.0% (20 half-samples). 31 neurons are among the first 269 in 90% of the halves or more; "
        "at most 33.7 are to be expected there by chance. By this bound no single neuron is told from chance."
    )
    assert said.reliability in said.lines
    more = findings(with_reliability(good(), stable_neurons=34), "upos").reliability
    assert more.endswith("at most 33.7 are to be expected there by chance.")
    rows = [{**row, "overlap": 0.07} for row in RELIABILITY["overlap"]]
    unstable = findings(with_reliability(good(), overlap=rows, stable_neurons=1, error_bound=None), "upos")
    assert (
        "That is no more than chance allows: which neurons come first depends on the sentences." in unstable.reliability
    )
    assert unstable.reliability.endswith("1 neuron is among the first 269 in 90% of the halves or more.")


def test_the_page_has_a_table_of_all_sizes_where_it_was_measured() -> None:
    page = render_report(with_reliability(good()), {})
    assert "Would other sentences give the same ranking?" in page
    for text in ("22.1% ± 5.1%", "33.7% ± 2.2%", "up to 9.0%", "1.71 to 2.23"):
        assert text in page, text
    for results in (good(), with_reliability(good(), overlap=[{"share": 0.05}]), with_reliability(beaten())):
        assert "Would other sentences" not in render_report(results, {})
        assert not findings(results, "upos").reliability


def test_a_neuron_card_says_how_often_halves_select_it() -> None:
    card = NeuronCard(
        rank=1,
        neuron=Neuron("residual", 2, 7),
        classes=("NOUN",),
        top_words=(TopWord("the", 1.9, 40),),
        sentences=(),
    )
    entry = {"site": "residual", "layer": 2, "index": 7, "frequency": 0.95, "rank_interval": [1.0, 412.0]}
    results = with_reliability(good(), top_neurons=[{**entry, "index": 6, "frequency": 0.25}, entry])
    said = "Among the first 269 in 95% of 20 half-samples, at ranks 1 to 412."
    page = render_report(results, {"upos": [card]})
    assert said in page
    assert "25% of 20 half-samples" not in page
    for other in (good(), with_reliability(good(), top_neurons=[{**entry, "rank_interval": [1.0]}])):
        assert "half-samples, at ranks" not in render_report(other, {"upos": [card]})


def test_a_choice_on_the_edge_of_the_grid_is_told_on_the_page() -> None:
    results = good()
    edge = "l2 = 0.001 is the largest of 2 that were tried"
    assert edge not in render_report(results, {})
    results["tasks"]["upos"]["search_edges"] = [edge]
    assert f"lies on the edge of what was tried, and a better one may lie beyond: {edge}." in render_report(results, {})
