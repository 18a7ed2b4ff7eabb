"""Complementary half-samples of the training words as problems of one solve."""

from pathlib import Path

import numpy as np
import pytest

from lca_jax import ElasticNet, fit_elastic_net, fit_probes, load_probes
from lca_jax.errors import DataError, SettingsError
from lca_jax.probing.bootstrap import check_samples
from lca_jax.probing.halves import draw_half
from tests.stores import CLASSES, planted_store, store_of

SENTENCES = np.repeat(np.arange(61), 3)


def test_two_halves_have_no_sentence_in_common_and_are_of_one_size() -> None:
    pairs = [[draw_half(SENTENCES, seed=4, replicate=2 * pair + half) for half in (1, 2)] for pair in range(20)]
    for one, other in pairs:
        assert set(np.unique(np.stack([one, other]))) == {0, 1}
        assert one.sum() == other.sum() == 3 * 30
        assert not (one * other).any()  # one sentence of 61 is in neither
        assert (one.reshape(61, 3) == one.reshape(61, 3)[:, :1]).all()
    assert len({one.tobytes() for pair in pairs for one in pair}) == 40
    assert not np.array_equal(pairs[0][0], draw_half(SENTENCES, seed=5, replicate=1))
    # Every sentence is in a half of a pair with the probability 60/61, and in the first with 30/61.
    often = np.mean([draw_half(SENTENCES, seed=0, replicate=2 * pair + 1) for pair in range(2000)], axis=0)
    assert np.abs(often - 30 / 61).max() < 5 * 0.5 / 2000**0.5


def test_a_probe_of_a_half_is_that_of_its_words_alone() -> None:
    store, net = planted_store(), ElasticNet(l1=1e-2, l2=1e-2, standardize=False, tolerance=3e-6)
    halves = fit_probes(store, net, replicates=2, kind="halves")
    X, gold, sentences = store.matrix(), np.array(store.labels("upos")), store.words["sentence"].to_numpy()
    for replicate in (1, 2):
        probe = halves.one("upos", replicate=replicate)
        inside = draw_half(sentences, seed=0, replicate=replicate) > 0
        alone = fit_elastic_net(X[inside], gold[inside], l1=1e-2, l2=1e-2, standardize=False, tolerance=3e-6)
        # Both are within √(2 · gap / l2) of the optimum, 0.026.
        np.testing.assert_allclose(probe.weights, alone.weights, atol=5e-2)
        assert (probe.kind, probe.words, probe.classes) == ("halves", inside.sum(), CLASSES)
    assert halves.replicates == 2


def test_halves_are_kept_on_disk_and_named(tmp_path: Path) -> None:
    probes = fit_probes(planted_store(words=48), ElasticNet(l1=1e-2, l2=1e-2), replicates=2, kind="halves")
    probes.save(tmp_path)
    assert [probe.kind for probe in load_probes(tmp_path)] == [probe.kind for probe in probes]
    assert "half-sample 2" in repr(probes.one("upos", replicate=2))
    assert "bootstrap sample 1" in repr(fit_probes(planted_store(words=48), replicates=1).of("upos", replicate=1)[0])


def test_what_cannot_be_halved_is_refused() -> None:
    store = planted_store(words=24)
    with pytest.raises(SettingsError, match=r"complementary pairs, so `replicates` must be even, got 3. Give 4"):
        fit_probes(store, replicates=3, kind="halves")
    with pytest.raises(SettingsError, match="must be one of bootstrap, halves, got 'thirds'"):
        check_samples(2, "thirds")
    one = store_of(np.zeros((4, 1, 3), np.float32), [["a", "b", "c", "d"]], {"t": [["x", "y", "x", "y"]]})
    with pytest.raises(DataError, match="need at least 2, got 1"):
        fit_probes(one, replicates=2, kind="halves")
    forms, vectors = [[f"w{word}"] for word in range(12)], np.random.default_rng(0).normal(size=(12, 1, 3))
    once: list[list[str | None]] = [["a" if word == 0 else "b" if word == 1 else None] for word in range(12)]
    with pytest.raises(DataError, match=r"Half-sample \d of the task `t` drew no labelled word"):
        fit_probes(store_of(vectors.astype(np.float32), forms, {"t": once}), replicates=8, kind="halves")
