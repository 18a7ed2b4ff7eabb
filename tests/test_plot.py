"""Figures say what the results say: their lines, bars and words are read back."""

import re
from typing import Any

import numpy as np
import pytest

import lca_jax as lca
from lca_jax.analysis.reliability_validity import MethodPoint, ReliabilityAndValidity
from lca_jax.axes import Neuron
from lca_jax.errors import DataError, SettingsError
from lca_jax.interventions.choices import SetName
from lca_jax.interventions.effect import AblationPoint
from tests.stores import planted_store

matplotlib = pytest.importorskip("matplotlib")
pytest.importorskip("matplotlib.text")


@pytest.fixture(scope="module")
def fitted() -> tuple:
    train, test = planted_store(seed=0), planted_store(seed=1)
    task = train.tasks[0]
    best = lca.fit_probes(train, lca.ElasticNet(l1=1e-3, l2=1e-2), tasks=[task])
    return train, test, best, lca.rank_neurons(best, task)


def test_the_lines_of_a_keep_curve_are_its_points(fitted: tuple) -> None:
    _, test, best, ranking = fitted
    curve = lca.keep_curve(best, ranking, test, fractions=(0.1, 0.5))
    (axes,) = lca.plot.keep_curve(curve).axes
    lines = {line.get_label(): np.asarray(line.get_ydata()) for line in axes.lines}
    np.testing.assert_allclose(lines["best (95 % interval)"], [point.top for point in curve.points])
    np.testing.assert_allclose(lines["worst"], [point.bottom for point in curve.points])
    np.testing.assert_allclose(lines["random (5 sets, ± 1 SD)"], [point.random for point in curve.points])
    np.testing.assert_allclose(np.asarray(axes.lines[1].get_xdata()), [10, 50])
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("neurons kept (%)", "accuracy")


def test_the_lines_of_an_ablation_curve_are_its_points() -> None:
    values = {"zero": (60.0, 90.0), "mean": (55.0, 70.0)}
    sets: tuple[SetName, ...] = ("top", "random")
    points = tuple(
        AblationPoint(
            ranking="random" if of == "random" else "lca", set=of, fill=fill, first=0, last=last, value=value,
            low=value - 5, high=value + 5, change=value - 50, change_low=0.0, change_high=1.0, draws=(), layers=(last,),
        )
        for of in sets
        for fill in values
        for last, value in zip((10, 100), values[fill], strict=True)
    )  # fmt: skip
    curve = lca.AblationCurve(
        measure="perplexity a word", sweep="cumulative", whole=50.0, whole_low=45.0, whole_high=55.0, lost="log",
        sentences=9, draws=5, layers=("residual 0",), points=points, claims=(),
    )  # fmt: skip
    panels = lca.plot.ablation_curve(curve).axes
    assert [axes.get_title() for axes in panels] == ["set to zero", "set to mean"]
    for axes, expected in zip(panels, values.values(), strict=True):
        lines = {
            line.get_label(): (np.asarray(line.get_xdata()).tolist(), np.asarray(line.get_ydata()).tolist())
            for line in axes.lines
        }
        assert lines["lca, top"] == ([10, 100], list(expected))
        assert lines["random"] == ([10, 100], list(expected))
        assert axes.get_yscale() == "log"


def test_the_bars_of_layers_count_the_first_neurons(fitted: tuple) -> None:
    *_, ranking = fitted
    (axes,) = lca.plot.layers(ranking, count=10).axes
    expected = [sum(neuron.layer == layer for neuron in ranking.neurons[:10]) for layer in range(3)]
    bars: list[Any] = list(axes.patches)
    assert [bar.get_height() for bar in bars] == expected
    assert sum(expected) == 10
    with pytest.raises(SettingsError, match="`count` must be in 1 to 24, got 25"):
        lca.plot.layers(ranking, count=25)


def test_the_squares_of_a_similarity_are_its_numbers(fitted: tuple) -> None:
    train, test = fitted[0], planted_store(seed=0, layers=2, width=12)
    found = lca.layer_similarity(lca.correlate_models([train, test]), "cka")
    (axes,) = lca.plot.layer_similarity(found).axes
    np.testing.assert_allclose(np.asarray(axes.images[0].get_array()), found.values)
    assert [text.get_text() for text in axes.texts] == [f"{value:.2f}" for value in found.values.ravel()]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["residual 0", "residual 1", "residual 2"]
    assert axes.get_title().startswith("cka; at most 0.")


def test_a_neuron_on_a_sentence_is_coloured_by_its_deviations(fitted: tuple) -> None:
    store = fitted[0]
    numbers = store.words["sentence"].to_numpy()
    text = lca.neuron_text(store, ("residual", 1, 3), 2)
    column = store.read("residual")[:][:, 1, 3].astype(float)
    expected = (column - column[store.usable].mean()) / column[store.usable].std()
    found = np.array([np.nan if value is None else value for value in text.values])
    np.testing.assert_allclose(found, np.where(store.usable, expected, np.nan)[numbers == 2], rtol=1e-5)
    html = text._repr_html_()
    titles = re.findall(r'title="([^"]+)" style="background:(#[0-9a-f]{6})', html)
    assert [title for title, _ in titles] == ["no vector" if v is None else f"{v:+.2f}" for v in text.values]
    for title, ground in titles:
        if title != "no vector" and abs(float(title)) > 0.2:
            red, blue = int(ground[1:3], 16), int(ground[5:], 16)
            assert (red > blue) == (float(title) > 0)
    drawn = [each.get_text() for each in lca.plot.neuron(store, Neuron("residual", 1, 3), 2).axes[0].texts]
    assert drawn == list(text.words)
    assert "residual" not in repr(text)
    assert "Neuron 1:3" in repr(text)


def test_words_are_escaped_and_sentences_checked(fitted: tuple) -> None:
    store = fitted[0]
    text = lca.neuron_text(store, ("residual", 0, 0), 0)
    from dataclasses import replace

    assert "&lt;b&gt;" in replace(text, words=("<b>", *text.words[1:]))._repr_html_()
    with pytest.raises(SettingsError, match="has sentences 0 to"):
        lca.neuron_text(store, ("residual", 0, 0), 10_000)
    with pytest.raises(SettingsError):
        lca.neuron_text(store, ("residual", 9, 0), 0)
    with pytest.raises(DataError, match="has no deviation in"):
        lca.neuron_text(store, ("residual", 0, 0), 0, reference=planted_store(words=1))


def test_figures_of_methods_have_a_point_a_cell_and_a_line_for_each_number(fitted: tuple) -> None:
    train, test, _, ranking = fitted
    task = train.tasks[0]
    found = lca.reliability_and_validity(train, task, methods=["anova", "variance"], share=0.2, readout="gaussian")
    (axes,) = lca.plot.reliability_and_validity(found).axes
    drawn: dict[str, Any] = {text.get_text(): text for text in axes.texts}
    for point in found.points:
        assert drawn[point.method].xy == (point.overlap, point.accuracy)
    rankings = {"lca": ranking, "mean_select": lca.rank(train, task, method="mean_select")}
    overlap = lca.method_overlap(rankings, neurons=5)
    (axes,) = lca.plot.method_overlap(overlap).axes
    assert [text.get_text() for text in axes.texts] == [f"{value:.2f}" for value in overlap.pairwise.ravel()]
    curve = lca.validity_curve(ranking, train, test, readout="gaussian", sizes=(2, 6))
    (axes,) = lca.plot.validity_curve(curve).axes
    lines = {line.get_label(): np.asarray(line.get_ydata()) for line in axes.lines}
    np.testing.assert_allclose(lines["first (95 % interval)"], [point.top for point in curve.points])
    assert axes.get_xlabel() == "neurons kept"


def test_names_of_methods_hide_neither_each_other_nor_points() -> None:
    places = [(0.50, 0.80), (0.505, 0.80), (0.51, 0.802), (0.505, 0.798), (0.99, 0.81), (0.98, 0.81), (0.2, 0.7)]
    points = tuple(
        MethodPoint(
            method=f"a method of a long name {number}", overlap=x, accuracy=y, low=y - 0.004, high=y + 0.004, first=y,
            second=y,
        )
        for number, (x, y) in enumerate(places)
    )  # fmt: skip
    found = ReliabilityAndValidity(
        task="upos", readout="linear", share=0.2, shared_neurons=20, neurons=10, chance=0.2, chance_high=0.25,
        constant=0.3, ranked_on=("one half", "the other"), measured_on="the rest", largest_gap=None, points=points,
    )  # fmt: skip
    figure = lca.plot.reliability_and_validity(found)
    figure.draw_without_rendering()
    (axes,) = figure.axes
    drawn: list[Any] = list(axes.texts)
    boxes = [matplotlib.text.Text.get_window_extent(text) for text in drawn]  # of the words, without the leader
    for number, box in enumerate(boxes):
        assert not any(box.overlaps(other) for other in boxes[number + 1 :]), drawn[number].get_text()
        assert not any(box.contains(*axes.transData.transform(place)) for place in places), drawn[number].get_text()
        assert axes.bbox.x0 <= box.x0
        assert box.x1 <= axes.bbox.x1
    assert any(text.arrow_patch for text in drawn)
    assert [text.get_text() for text in drawn] == [point.method for point in points]


def test_the_panels_of_a_neuron_are_its_histograms(fitted: tuple) -> None:
    train, *_ = fitted
    found = lca.class_histograms(train, bins=8, statistics=lca.gather_statistics(train))
    chosen = found.neurons[3]
    panels = lca.plot.class_histograms(found, chosen).axes
    assert len(panels) == len(found.classes)
    for axes, (name, counts) in zip(panels, found.of(chosen).items(), strict=True):
        stairs: Any = axes.patches[0]
        np.testing.assert_allclose(stairs.get_data().values, counts / counts.sum())
        np.testing.assert_allclose(stairs.get_data().edges, found.edges[3])
        assert axes.get_ylabel() == f"{name}\n{counts.sum():,}"
