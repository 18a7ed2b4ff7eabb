"""Every ranking method of the table against SciPy, scikit-learn or a plain loop; and what all have in common."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from scipy import stats
from sklearn.feature_selection import f_classif
from sklearn.metrics import average_precision_score, mutual_info_score

import lca_jax as lca
from lca_jax import ElasticNet, ProbeSet, fit_probes, gather_statistics
from lca_jax.errors import DataError, SettingsError
from lca_jax.ranking.average_precision import rank_by_average_precision
from lca_jax.ranking.class_means import Scale
from lca_jax.ranking.counting import count_above
from lca_jax.ranking.direction import Direction
from lca_jax.ranking.methods import METHODS
from lca_jax.ranking.ranking import Ranking
from lca_jax.ranking.words import read_words, statistics_of_words
from tests.stores import CLASSES, planted_store, store_of

STORE = planted_store()
X, GOLD = STORE.matrix(), np.array(STORE.labels("upos"))


@pytest.fixture(scope="module")
def probes() -> ProbeSet:
    """Probes of all classes, and of each class against the rest."""
    settings = ElasticNet(l1=1e-2, l2=1e-2)
    whole, binary = (fit_probes(STORE, settings, one_vs_rest=apart) for apart in (False, True))
    return replace(whole, probes=(*whole.probes, *binary.probes))


def by_column(ranking: Ranking) -> np.ndarray:
    """The score of each column."""
    scores = np.empty(len(ranking.columns))
    scores[ranking.columns] = ranking.scores
    return scores


def by_class(ranking: Ranking) -> Mapping[str, np.ndarray]:
    return {name: by_column(of_class) for name, of_class in ranking.by_class.items()}


def test_anova_is_the_f_statistic_of_scikit_learn() -> None:
    for given in (gather_statistics(STORE), (X, GOLD)):
        ranking = lca.rank(given, method="anova")
        np.testing.assert_allclose(by_column(ranking), f_classif(X.astype(np.float64), GOLD)[0], rtol=1e-5)
        for name, scores in by_class(ranking).items():
            np.testing.assert_allclose(scores, f_classif(X.astype(np.float64), name == GOLD)[0], rtol=1e-4)


def test_mean_weight_is_the_mean_magnitude(probes: ProbeSet) -> None:
    weights = np.abs(probes.one("upos").weights.astype(np.float64))
    ranking = lca.rank(probes, method="mean_weight")
    np.testing.assert_allclose(by_column(ranking), weights.mean(axis=1), rtol=1e-12)
    np.testing.assert_allclose(by_class(ranking)["NOUN"], weights[:, 1], rtol=1e-12)


@pytest.mark.parametrize("direction", ["both", "high", "low"])
def test_average_precision_is_that_of_scikit_learn(direction: Direction) -> None:
    coarse = np.round(X * 2) / 2  # many equal values
    for values in (X, coarse):
        ranking = lca.rank((values, GOLD), method="average_precision", direction=direction)
        for name, scores in by_class(ranking).items():
            for column, score in enumerate(scores):
                high = average_precision_score(name == GOLD, values[:, column])
                low = average_precision_score(name == GOLD, -values[:, column])
                expected = {"high": high, "low": low, "both": max(high, low)}[direction]
                assert score == pytest.approx(expected, abs=1e-12)


def test_what_neurox_calls_iou_is_average_precision_with_a_threshold() -> None:
    cut = np.where(np.abs(X) < 0.05, 0, X)  # as its code does, in place
    assert (cut == 0).any()
    ranking = lca.rank((X, GOLD), method="average_precision", direction="high", threshold=0.05)
    for name, scores in by_class(ranking).items():
        expected = [average_precision_score(name == GOLD, cut[:, column]) for column in range(24)]
        np.testing.assert_allclose(scores, expected, atol=1e-12)


@pytest.mark.parametrize("direction", ["both", "high", "low"])
@pytest.mark.parametrize("threshold", [0.0, 0.5])
def test_iou_counts_the_words_that_a_neuron_is_active_on(direction: Direction, threshold: float) -> None:
    ranking = lca.rank(STORE, "upos", method="iou", threshold=threshold, direction=direction)
    for name, scores in by_class(ranking).items():
        inside = set(np.flatnonzero(name == GOLD).tolist())
        for column, score in enumerate(scores):
            high = set(np.flatnonzero(X[:, column] > threshold).tolist())
            low = set(np.flatnonzero(X[:, column] < -threshold).tolist())
            sets = {"high": [high], "low": [low], "both": [high, low]}[direction]
            assert score == pytest.approx(max(len(inside & active) / len(inside | active) for active in sets))
    np.testing.assert_allclose(by_column(ranking), np.max(list(by_class(ranking).values()), axis=0))


def test_counts_above_thresholds_are_exact_over_several_blocks_of_words() -> None:
    values = np.random.default_rng(1).integers(-3, 4, (4500, 5)).astype(np.float32)
    inside = np.stack([np.arange(4500) % 2 == 0, np.arange(4500) < 4200])
    levels = np.array([[0.0] * 5, [2.0] * 5], np.float32)
    found = count_above(values, inside, levels, signs=(1, -1))
    for level, sign in enumerate((1, -1)):
        assert (found[level] == inside.astype(int) @ (sign * values > levels[level])).all()


def test_mutual_information_is_that_of_counts_in_bins() -> None:
    coarse = np.round(X * 2) / 2  # equal values must share a bin
    for values in (X, coarse):
        ranking = lca.rank((values, GOLD), method="mutual_information", bins=5)
        ends = np.sort(values, axis=0)[[len(values) * part // 5 - 1 for part in range(1, 5)]]
        for column, score in enumerate(by_column(ranking)):
            place = (values[:, column] > ends[:, [column]]).sum(axis=0)
            for labels, found in [(GOLD, score), (GOLD == "VERB", by_class(ranking)["VERB"][column])]:
                bits = mutual_info_score(place, labels) / np.log(2)
                cells = len(set(zip(place.tolist(), labels.tolist(), strict=True)))
                over = (cells - len(set(place.tolist())) - len(set(labels.tolist())) + 1) / (2 * len(X) * np.log(2))
                assert found == pytest.approx(max(bits - over, 0), abs=1e-9)


def test_mutual_information_depends_on_order_alone_and_is_near_zero_of_shuffled_labels() -> None:
    one, other = (by_column(lca.rank((values, GOLD), method="mutual_information")) for values in (X, np.exp(X) - 7))
    np.testing.assert_allclose(one, other, atol=1e-12)
    shuffled = np.random.default_rng(0).permutation(GOLD)
    # Without the correction the mean would be 30 / (2 · 240 · ln 2) = 0.09 bits.
    assert by_column(lca.rank((X, shuffled), method="mutual_information")).mean() < 0.02
    with pytest.raises(SettingsError, match="`bins` must be 2 or more, got 1"):
        lca.rank((X, GOLD), method="mutual_information", bins=1)


@pytest.mark.parametrize("scale", ["none", "total", "within"])
def test_distance_of_means_is_a_standardised_difference(scale: Scale) -> None:
    values = X.astype(np.float64)
    within = np.sqrt(np.sum([np.mean(name == GOLD) * values[name == GOLD].var(axis=0) for name in CLASSES], axis=0))
    divisor = {"none": 1.0, "total": values.std(axis=0), "within": within}[scale]
    apart = {n: (values[n == GOLD].mean(axis=0) - values[n != GOLD].mean(axis=0)) / divisor for n in CLASSES}
    for direction in ("both", "high", "low"):
        ranking = lca.rank(gather_statistics(STORE), method="mean_distance", scale=scale, direction=direction)
        for name, scores in by_class(ranking).items():
            expected = {"both": np.abs(apart[name]), "high": apart[name], "low": -apart[name]}[direction]
            np.testing.assert_allclose(scores, expected, atol=1e-5)
        np.testing.assert_allclose(by_column(ranking), np.max(list(by_class(ranking).values()), axis=0))


def test_probeless_is_the_sum_of_antverg_for_the_task_and_the_difference_of_fan_for_a_class() -> None:
    both, signed = (lca.rank((X, GOLD), method="probeless", direction=way) for way in ("both", "high"))
    np.testing.assert_array_equal(by_column(both), by_column(signed))  # the sum over pairs has no sign
    for name in CLASSES:
        fan = X[name == GOLD].mean(axis=0) - X[name != GOLD].mean(axis=0)
        np.testing.assert_allclose(by_class(signed)[name], fan, atol=1e-5)
        np.testing.assert_allclose(by_class(both)[name], np.abs(fan), atol=1e-5)


def test_mean_select_divides_by_the_range_within_the_class() -> None:
    signed, both = (lca.rank(STORE, method="mean_select", direction=way) for way in ("high", "both"))
    for name in CLASSES:
        inside, outside = X[name == GOLD].astype(np.float64), X[name != GOLD].astype(np.float64)
        plain = (inside.mean(axis=0) - outside.mean(axis=0)) / (inside.max(axis=0) - inside.min(axis=0))
        np.testing.assert_allclose(by_class(signed)[name], plain, atol=1e-6)
        np.testing.assert_allclose(by_class(both)[name], np.abs(plain), atol=1e-6)
    alone = lca.rank((np.array([[1.0, 2.0], [3.0, 2.0], [4.0, 2.0]]), ["a", "b", "b"]), method="mean_select")
    assert by_class(alone)["a"].tolist() == [0, 0]  # one word has no range


def test_statistics_of_words_in_memory_are_those_of_a_pass() -> None:
    gathered, computed = gather_statistics(STORE), statistics_of_words(read_words(STORE))
    for name in ("mean", "variance", "smallest", "largest"):
        np.testing.assert_allclose(getattr(computed, name), getattr(gathered, name), rtol=1e-4, atol=1e-6)
    of_words, of_pass = computed.of_task("upos"), gathered.of_task("upos")
    assert (of_words.classes, of_words.counts.tolist()) == (of_pass.classes, of_pass.counts.tolist())
    np.testing.assert_allclose(of_words.mean, of_pass.mean, rtol=1e-4, atol=1e-6)
    for method in ("probeless", "variance"):
        one, other = (by_column(lca.rank(given, method=method)) for given in (gathered, (X, GOLD)))
        np.testing.assert_allclose(one, other, rtol=1e-4)


@pytest.mark.parametrize("method", METHODS)
def test_every_method_orders_all_neurons_and_follows_a_permutation(method: str, probes: ProbeSet) -> None:
    # Which neurons are copies of each other does not follow a permutation.
    options: dict[str, Any] = {"share": 1.0} if method == "bagged" else {}
    ranking = lca.rank(probes if METHODS[method].reads == "probes" else (X, GOLD), method=method, **options)
    assert sorted(ranking.columns.tolist()) == list(range(24))
    assert (np.diff(ranking.scores) <= 0).all()
    assert ((np.diff(ranking.ties) == 1) == (np.diff(ranking.scores) < 0)).all()
    order = np.random.default_rng(0).permutation(24)
    if METHODS[method].reads == "probes":
        given = replace(probes, probes=tuple(replace(probe, weights=probe.weights[order]) for probe in probes))
    else:
        given = (X[:, order], GOLD)
    permuted = by_column(lca.rank(given, method=method, **options))
    np.testing.assert_allclose(permuted, by_column(ranking)[order], rtol=1e-5)
    if METHODS[method].labels and method != "probeless":  # which no planted neuron of twice the deviation needs
        assert {3, 17} <= set(ranking.top(6).tolist())


def test_a_neuron_that_never_changes_comes_last_and_one_that_splits_without_spread_first() -> None:
    values = np.stack([np.ones(6), np.arange(6.0), np.array([0.0, 0, 0, 1, 1, 1])], axis=1).astype(np.float32)
    labels = list("aaabbb")
    for method in ("anova", "average_precision"):
        ranking = lca.rank((values, labels), method=method)
        assert (ranking.columns[0] == 2) or ranking.scores[0] == ranking.scores[1]
        assert ranking.columns[-1] == 0
    assert np.isfinite(lca.rank((values, labels), method="anova").scores).all()


def test_what_a_method_cannot_read_is_refused(probes: ProbeSet) -> None:
    with pytest.raises(
        SettingsError, match=r"no ranking method 'lda'. Methods: lca, bagged, mean_weight, one_vs_rest, probeless"
    ):
        lca.rank(STORE, method="lda")
    with pytest.raises(SettingsError, match=r"`lca` cannot read a value of type ActivationStore. Give probes"):
        lca.rank(STORE)
    for method in ("anova", "iou"):
        with pytest.raises(SettingsError, match=f"`{method}` cannot read a value of type ProbeSet. Give a store"):
            lca.rank(probes, method=method)
    with pytest.raises(SettingsError, match=r"`iou` cannot read a value of type Statistics. Give a store"):
        lca.rank(gather_statistics(STORE), method="iou")
    with pytest.raises(SettingsError, match=r"must be 0 or more where both directions count, got -1"):
        lca.rank(STORE, method="iou", threshold=-1.0)
    with pytest.raises(SettingsError, match=r"`threshold` must be 0 or more, got -1"):
        lca.rank(STORE, method="average_precision", threshold=-1.0)
    for method in ("anova", "mean_select", "average_precision", "iou", "probeless", "mutual_information"):
        with pytest.raises(DataError, match=r"classes of `y`|class with words inside and outside"):
            lca.rank((X[:9], ["a"] * 9), method=method)
    labels: list[list[str | None]] = [["x", "y", "x", "y"]]
    two = store_of(X[:4, None, :3], [["a", "b", "c", "d"]], {"t": labels, "u": labels})
    with pytest.raises(SettingsError, match=r"Name one of the tasks of .*: t, u"):
        rank_by_average_precision(two)
    with pytest.raises(SettingsError, match="read for `upos`, not for `xpos`"):
        rank_by_average_precision(read_words(STORE), "xpos")


@pytest.mark.usefixtures("as_users_run_it")
@pytest.mark.parametrize("method", ["iou", "average_precision", "mean_select", "mean_distance", "probeless"])
def test_a_word_that_is_no_option_is_refused(method: str) -> None:
    with pytest.raises(SettingsError, match=r"`direction` must be 'both' or 'high' or 'low', got 'up'"):
        lca.rank((X, GOLD), method=method, direction="up")
    with pytest.raises(SettingsError, match=r"`scale` must be 'none', 'total' or 'within', got 'z'"):
        lca.rank((X, GOLD), method="mean_distance", scale="z")


def test_ranks_of_anova_are_those_of_the_share_of_variance() -> None:
    eta = [
        1 - sum(X[n == GOLD, j].var() * np.sum(n == GOLD) for n in CLASSES) / (len(X) * X[:, j].var())
        for j in range(24)
    ]
    found = by_column(lca.rank((X, GOLD), method="anova"))
    assert stats.spearmanr(eta, found)[0] == pytest.approx(1)
