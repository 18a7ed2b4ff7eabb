"""A neuron's activations by class on the page: paths read back, which classes are shown, and what the page says."""

import re

import numpy as np

from lca_jax.axes import Neuron
from lca_jax.descriptors.activation_bins import BINS, REACH, ClassActivations
from lca_jax.descriptors.top_words import NeuronCard
from lca_jax.report.activation_chart import ActivationRow, draw_activations
from lca_jax.report.page import render_report
from lca_jax.report.sizes import render_small
from tests.report.results import good


def of_class(name: str, mean: float, words: int) -> ClassActivations:
    values = np.random.default_rng(words).normal(mean, 0.5, words)
    counts, _ = np.histogram(np.clip(values, -REACH, REACH), np.linspace(-REACH, REACH, BINS + 1))
    return ClassActivations(name, mean, tuple(counts.tolist()))


def heights_of(row: ActivationRow, width: float) -> list[float]:
    """The heights of all bins from the first that has words, read from the path."""
    heights, height = [], 0.0
    for step, amount in re.findall(r"([hv])(-?[0-9.]+)", row.path):
        if step == "v":
            height -= float(amount)
        else:
            assert float(amount) == width
            heights.append(height)
    assert height == 0
    return heights


def test_histograms_are_as_high_as_their_counts() -> None:
    classes = [of_class("NOUN", -1.0, 900), of_class("VERB", 1.5, 40), ClassActivations("X", 0.0, (0,) * BINS)]
    chart = draw_activations(classes, own="VERB", unit="word")
    assert chart is not None
    assert [(row.name, row.own) for row in chart.rows] == [("NOUN", False), ("VERB", True)]
    assert chart.rows[0].words == "mean −1.0, 900 words"
    width = (chart.frame.right - chart.frame.left) / BINS
    for row, of in zip(chart.rows, classes, strict=False):
        filled = np.flatnonzero(of.counts)
        expected = np.array(of.counts[filled[0] : filled[-1] + 1]) * 19 / max(of.counts)
        np.testing.assert_allclose(heights_of(row, width), expected, atol=1)
        assert row.path.startswith(f"M{chart.frame.left + filled[0] * width:g} {row.base:g}v")
    assert chart.zero == (chart.frame.left + chart.frame.right) / 2
    assert draw_activations([], own=None, unit="word") is None


def test_the_smallest_of_many_classes_share_a_histogram_but_the_neurons_own_does_not() -> None:
    classes = [of_class(f"c{number:02}", 0.1 * number, 10 + number) for number in range(17)]
    chart = draw_activations(classes, own="c00", unit="word")
    assert chart is not None
    assert [row.name for row in chart.rows] == ["c00", "c12", "c13", "c14", "c15", "c16", "11 others"]
    words = [int(re.findall(r"(\d+) words", row.words)[0]) for row in chart.rows]
    assert sum(words) == sum(sum(of.counts) for of in classes)


def test_the_page_has_them_escaped_and_drops_them_where_there_is_no_room() -> None:
    classes = (of_class("NOUN", -1.0, 30), of_class("فعل<b>", 1.5, 40))
    neuron = Neuron("residual", 2, 7)
    card = NeuronCard(neuron=neuron, rank=1, classes=("NOUN",), top_words=(), sentences=(), activations=classes)
    page = render_report(good(), {"upos": [card]})
    assert page.count('<svg class="spread"') == 1
    assert "Activations of neuron 2:7 by class. NOUN: mean −1.0, 30 words;" in page
    assert "فعل&lt;b&gt;" in page
    assert "each histogram is as high as its fullest bin" in page
    assert "each histogram is as high" not in render_report(good(), {})

    def render(cards: dict[str, list[NeuronCard]], shortened: bool) -> str:
        return f"{shortened}{'x' * 100 * sum(len(card.activations) for card in cards['upos'])}"

    assert render_small({"upos": [card]}, render, tasks=0, largest=10**9) == f"False{'x' * 200}"  # pyright: ignore[reportArgumentType]
    assert render_small({"upos": [card]}, render, tasks=0, largest=100) == "True"  # pyright: ignore[reportArgumentType]
