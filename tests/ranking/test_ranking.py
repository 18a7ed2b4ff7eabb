"""Rankings from probes, and what is measured with them."""

import csv
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from lca_jax import ElasticNet, ProbeSet, fit_elastic_net, fit_probes, keep_curve, minimal_neurons, rank_neurons
from lca_jax.analysis.distribution import centre_of_mass, class_neurons, layer_shares, sharing
from lca_jax.axes import LayerBlock, Neuron, NeuronAxis
from lca_jax.errors import SettingsError
from lca_jax.probing.labelling import control_task_of
from lca_jax.probing.measuring import measured_words
from lca_jax.ranking.lca import neurons_by_class
from lca_jax.ranking.ranking import Ranking
from tests.stores import CLASSES, PLANTED, kept_accuracy, planted_store


@pytest.fixture(scope="module")
def probes() -> ProbeSet:
    return fit_probes(planted_store(), ElasticNet(l1=1e-2, l2=1e-3))


@pytest.fixture(scope="module")
def ranking(probes: ProbeSet) -> Ranking:
    return rank_neurons(probes, "upos")


def test_planted_neurons_are_found(ranking: Ranking) -> None:
    planted = sorted(column for columns in PLANTED.values() for column in columns)
    assert sorted(ranking.top(4).tolist()) == planted
    for name, columns in PLANTED.items():
        assert set(ranking.by_class[name].top(len(columns)).tolist()) == set(columns)
    assert Neuron("residual", 1, 2) in ranking.neurons[:4]  # column 10 of layers eight wide


def test_scores_fall_and_ties_are_told(ranking: Ranking, probes: ProbeSet) -> None:
    assert (np.diff(ranking.scores) <= 0).all()
    assert ranking.scores[0] == 1
    unused = ~(probes.one("upos").weights != 0).any(axis=1)
    assert unused.any()
    assert set(ranking.columns[ranking.scores == 0].tolist()) == set(np.flatnonzero(unused).tolist())
    assert len(set(ranking.ties[ranking.scores == 0].tolist())) == 1
    for of_class in ranking.by_class.values():
        assert of_class.scores.sum() == pytest.approx(1)


def test_bottom_sets_are_nested_and_draw_from_ties(ranking: Ranking) -> None:
    unused = set(ranking.columns[ranking.scores == 0].tolist())
    small, large = ranking.bottom(3, seed=1), ranking.bottom(6, seed=1)
    assert large[:3].tolist() == small.tolist()
    assert set(small.tolist()) <= unused
    assert any(set(ranking.bottom(3, seed=seed).tolist()) != set(small.tolist()) for seed in range(5))
    assert ranking.random(6, seed=2)[:3].tolist() == ranking.random(3, seed=2).tolist()
    assert set(ranking.bottom(24).tolist()) == set(range(24))
    with pytest.raises(SettingsError, match="1 to 24 neurons, got 25"):
        ranking.top(25)


def test_no_two_sets_that_are_compared_are_one_draw(ranking: Ranking) -> None:
    """A bottom set of ties, the random sets beside it, and those of other seeds are drawn independently."""
    flat = replace(ranking, ties=np.zeros(24, int))
    sets = [flat.bottom(24, seed=seed) for seed in range(3)]
    sets += [flat.random(24, seed=seed, draw=draw) for seed in range(3) for draw in range(3)]
    assert len({tuple(columns.tolist()) for columns in sets}) == len(sets)


def test_a_neuron_without_weight_belongs_to_no_class(probes: ProbeSet, ranking: Ranking) -> None:
    weighted = int((ranking.scores > 0).sum())
    assert weighted < 24
    exactly = neurons_by_class(probes, "upos", count=weighted)
    beyond = neurons_by_class(probes, "upos", count=weighted + 3)
    assert {name: found.tolist() for name, found in beyond.items()} == {
        name: found.tolist() for name, found in exactly.items()
    }
    empty = replace(probes.one("upos"), weights=np.zeros((24, 3), np.float32))
    nothing = replace(probes, probes=(empty,))
    assert all(len(found) == 0 for found in neurons_by_class(nothing, "upos", count=5).values())


def test_csv_holds_every_neuron_in_order(ranking: Ranking, tmp_path: Path) -> None:
    ranking.write_csv(tmp_path / "r.csv")
    rows = list(csv.DictReader((tmp_path / "r.csv").read_text(encoding="utf-8").splitlines()))
    neurons = [Neuron(row["site"], int(row["layer"]), int(row["index"])) for row in rows]
    assert neurons == ranking.neurons
    first = next(row for row in rows if row["rank:VERB"] == "1")
    assert [int(row["rank"]) for row in rows] == list(range(1, 25))
    assert (first["layer"], first["index"]) == ("2", "1")  # column 17


def test_stride_keeps_the_order_between_blocks(probes: ProbeSet, ranking: Ranking) -> None:
    coarse = rank_neurons(probes, "upos", stride=10)
    place = np.argsort(ranking.columns)
    exact_level = ranking.scores[place][coarse.columns]
    for earlier, later in zip(np.unique(coarse.ties)[:-1], np.unique(coarse.ties)[1:], strict=True):
        assert exact_level[coarse.ties == earlier].min() >= exact_level[coarse.ties == later].max()


def test_masked_curve_equals_a_plain_writing(probes: ProbeSet, ranking: Ranking) -> None:
    test = planted_store(seed=2)
    curve = keep_curve(probes, ranking, test, fractions=(0.25, 0.1), draws=3, seed=5)
    words = measured_words(test, probes.axis, "upos", CLASSES)

    def kept(columns: np.ndarray) -> float:
        return kept_accuracy(probes.one("upos"), words.X, words.gold, columns)

    assert [point.fraction for point in curve.points] == [0.1, 0.25]
    point = curve.points[1]
    assert point.neurons == 6
    assert point.top == pytest.approx(kept(ranking.top(6)))
    assert point.bottom == pytest.approx(kept(ranking.bottom(6, seed=5)))
    draws = [kept(ranking.random(6, seed=5, draw=draw)) for draw in range(3)]
    assert point.random == pytest.approx(np.mean(draws))
    assert point.random_std == pytest.approx(np.std(draws, ddof=1))
    assert curve.whole == pytest.approx(kept(ranking.columns))
    assert point.top > point.random > point.bottom


def test_retrained_curve_trains_on_the_kept_neurons_alone(probes: ProbeSet, ranking: Ranking) -> None:
    test = planted_store(seed=2)
    curve = keep_curve(probes, ranking, test, fractions=(0.1, 0.25), mode="retrain", draws=2)
    train = measured_words(planted_store(), probes.axis, "upos", CLASSES)
    words = measured_words(test, probes.axis, "upos", CLASSES)
    columns = ranking.top(2)
    alone = fit_elastic_net(train.X[:, columns], train.gold, l1=1e-2, l2=1e-3)
    right = alone.predict(words.X[:, columns]) == words.gold
    assert curve.points[0].top == pytest.approx(right.mean(), abs=1 / len(right))
    assert curve.points[1].top > curve.points[1].bottom


def test_minimal_set_is_the_first_that_suffices(probes: ProbeSet, ranking: Ranking) -> None:
    found = minimal_neurons(planted_store(), planted_store(seed=3), ranking, probes, drop=0.02)
    sizes, reached = zip(*found.steps, strict=True)
    assert list(sizes) == sorted(set(sizes))
    enough = [
        size for size, accuracy in found.steps if accuracy >= found.oracle - 0.02 * (found.oracle - found.constant)
    ]
    assert len(found.columns) == enough[0]
    assert found.columns.tolist() == ranking.columns[: enough[0]].tolist()
    assert found.accuracy == reached[sizes.index(enough[0])]
    assert found.control is not None
    assert found.control.control
    assert found.probe.weights.shape == (enough[0], 3)
    with pytest.raises(SettingsError, match=r"`drop` must be in \[0, 1\), got 1"):
        minimal_neurons(planted_store(), planted_store(), ranking, probes, drop=1.0)


def test_curves_refuse_bad_settings(probes: ProbeSet, ranking: Ranking) -> None:
    store = planted_store()
    with pytest.raises(SettingsError, match=r"in \(0, 1\], got \(20.0,\)"):
        keep_curve(probes, ranking, store, fractions=(20.0,))
    with pytest.raises(SettingsError, match="no standard deviation; got 1"):
        keep_curve(probes, ranking, store, draws=1)
    with pytest.raises(SettingsError, match="store=train_store"):
        keep_curve(replace(probes, store=None), ranking, store, mode="retrain")


def test_words_that_were_read_before_take_the_place_of_their_store(probes: ProbeSet, ranking: Ranking) -> None:
    test = planted_store(seed=2)
    words = measured_words(test, probes.axis, "upos", CLASSES)
    assert keep_curve(probes, ranking, words, draws=2) == keep_curve(probes, ranking, test, draws=2)
    assert words.sentences.tolist() == test.words["sentence"].to_pylist()
    with pytest.raises(SettingsError, match=r"read for `upos` with classes .* not for `xpos`"):
        measured_words(words, probes.axis, "xpos", CLASSES)
    one_layer = NeuronAxis(blocks=(LayerBlock("residual", 0, 8),))
    with pytest.raises(SettingsError, match=r"read 24 neurons of residual 0.* these words have 8 neurons"):
        measured_words(replace(words, axis=one_layer), probes.axis, "upos", CLASSES)
    control = control_task_of(planted_store(), "upos", seed=0)
    assert control is not None
    with pytest.raises(SettingsError, match="labels of the control task of `upos`"):
        keep_curve(probes, ranking, words.labelled_by(control))


def test_class_neurons_cover_the_set(probes: ProbeSet, ranking: Ranking) -> None:
    by_class = neurons_by_class(probes, "upos", count=5)
    assert set(np.concatenate(list(by_class.values())).tolist()) == set(ranking.top(5).tolist())
    for name, columns in PLANTED.items():
        assert set(columns) <= set(by_class[name].tolist())
    together = sharing(by_class)
    assert together.distinct == 5
    assert together.factor == together.total / 5
    assert class_neurons(by_class, probes.axis)["ADJ"].layers.sum() == pytest.approx(1)


def test_layers_of_a_set() -> None:
    axis = NeuronAxis(blocks=(LayerBlock("residual", 0, 2), LayerBlock("residual", 4, 2)))
    shares = layer_shares(np.array([0, 2, 3]), axis)
    assert shares.tolist() == pytest.approx([1 / 3, 2 / 3])
    assert centre_of_mass(shares, axis) == pytest.approx(8 / 3)
    assert layer_shares(np.zeros(0, int), axis).tolist() == [0, 0]


def test_a_ranking_describes_itself(ranking: Ranking) -> None:
    lines = repr(ranking).splitlines()
    assert lines[0] == "24 neurons ranked for upos, and for each of its 3 classes"
    assert lines[1].split() == ["rank", "site", "layer", "index", "score", "tie"]
    assert lines[-1] == "… and 14 more rows"
    assert len(lines) == 13
    table = ranking.table()
    assert list(table) == ["rank", "site", "layer", "index", "score", "tie", "rank:ADJ", "rank:NOUN", "rank:VERB"]
    assert {len(values) for values in table.values()} == {24}
    named = zip(table["site"].tolist(), table["layer"].tolist(), table["index"].tolist(), strict=True)
    assert [Neuron(*neuron) for neuron in named] == ranking.neurons
    for name, of_class in ranking.by_class.items():
        assert ranking.columns[np.argsort(table[f"rank:{name}"])].tolist() == of_class.columns.tolist()
    assert replace(ranking, task="<b>")._repr_html_().startswith("<table>\n<caption>24 neurons ranked for &lt;b&gt;,")
    assert repr(ranking.by_class["NOUN"]).startswith("24 neurons ranked for upos: NOUN\n")


def test_curves_and_minimal_sets_describe_themselves(probes: ProbeSet, ranking: Ranking) -> None:
    curve = keep_curve(probes, ranking, planted_store(seed=2), fractions=(0.1, 0.25), draws=2)
    first, names, *points = repr(curve).splitlines()
    assert first.startswith("Accuracy on upos with some neurons kept (mode mask, 2 random sets); with all neurons 0.9")
    columns = ["fraction", "neurons", "top", "random", "random_std", "bottom", "top_low", "top_high"]
    assert names.split() == columns == list(curve.table())
    assert all(point.top_low <= point.top <= point.top_high for point in curve.points)
    assert curve.masked_to == "training mean"
    assert len(points) == 2
    assert curve.table()["top"] == [point.top for point in curve.points]
    assert "<td" in curve._repr_html_()
    minimal = minimal_neurons(planted_store(), planted_store(seed=3), ranking, probes, drop=0.02)
    first, names, *steps = repr(minimal).splitlines()
    assert first.startswith(f"upos: the first {len(minimal.columns)} neurons (0.")
    assert "keeps 0.98 of the gain on dev: accuracy 0." in first
    assert first.endswith("not measured on test")
    assert names.split() == ["neurons", "accuracy", "within_drop"]
    assert len(steps) == len(minimal.steps)
    table = minimal.table()
    assert table["neurons"][table["within_drop"].index(True)] == len(minimal.columns)
    assert "<caption>" in minimal._repr_html_()
