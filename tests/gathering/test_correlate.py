"""Moments of several models with each other, against NumPy in float64; which words are matched, and which refused."""

from dataclasses import replace

import numpy as np
import pytest

import lca_jax as lca
from lca_jax.errors import DataError, SettingsError
from lca_jax.gathering.products import Columns, Table, sum_products
from lca_jax.store.store import ActivationStore
from tests.compilations import count_programs
from tests.models_of_one_corpus import CONSTANT, mixed, plain_correlation
from tests.stores import store_of

SENTENCES = [[f"w{number}" for number in range(start, start + 6)] for start in range(0, 600, 6)]


def store(X: np.ndarray, *, without: list[int] | None = None, forms: list[list[str]] | None = None) -> ActivationStore:
    """A store of these vectors; of some words it has none."""
    made = store_of(X, forms or SENTENCES, {})
    if not without:
        return made
    excluded = made.words["excluded"].to_pylist()
    for word in without:
        excluded[word] = "too long"
    place = made.words.column_names.index("excluded")
    return replace(made, words=made.words.set_column(place, "excluded", [excluded]))


@pytest.mark.parametrize("options", [{}, {"held_out": 0.2}, {"itself": True}, {"device_bytes": 4.0 * 30 * 7}])
def test_correlations_are_those_of_numpy(options: dict) -> None:
    X, Y, Z = mixed(0), mixed(1, layers=2), mixed(2)[:, 0]
    moments = lca.correlate_models([X, Y, Z], drawn=4, **options)
    for one, other, a, b in ((0, 1, X, Y), (1, 2, Y, Z), (2, 0, Z, X)):
        np.testing.assert_allclose(moments.correlation(one, other), plain_correlation(a, b), atol=2e-6)
    if options.get("itself"):
        np.testing.assert_allclose(moments.correlation(0, 0), plain_correlation(X, X), atol=2e-6)
    for layer in range(3):
        own = X[:, layer].astype(np.float64)
        expected = np.cov(own.T) * (len(own) - 1)
        unit = np.sqrt(np.maximum(np.diagonal(expected), 1e-9))
        found = moments.within(moments.whole, 0, layer)
        assert (np.abs(found - expected) / unit[:, None] / unit).max() < 2e-6
    flat = Y.reshape(600, -1).astype(np.float64)
    assert (np.abs(moments.whole.means[1] - flat.mean(axis=0)) / np.maximum(flat.std(axis=0), 1e-6)).max() < 1e-6
    assert moments.words == 600


def test_held_out_parts_are_whole_sentences_drawn_by_the_seed() -> None:
    stores = [store(mixed(0)), store(mixed(1))]
    moments = lca.correlate_models(stores, held_out=0.2, seed=3)
    assert [part.words for part in moments.parts] == [360, 120, 120]
    again, other = (lca.correlate_models(stores, held_out=0.2, seed=seed) for seed in (3, 4))
    np.testing.assert_array_equal(moments.parts[2].means[0], again.parts[2].means[0])
    assert (moments.parts[2].means[0] != other.parts[2].means[0]).any()
    # A column that numbers the sentences tells which ones are in each part: whole ones, each in one part.
    numbers = (2.0 ** np.repeat(np.arange(20), 3)).astype(np.float32)[:, None]
    few = [[f"w{word}" for word in range(start, start + 3)] for start in range(0, 60, 3)]
    numbered = store(np.stack([numbers, numbers], axis=2), forms=few)
    parts = [
        round(float(part.means[0][0]) * part.words / 3)
        for part in lca.correlate_models([numbered, numbered], held_out=0.25).parts
    ]
    assert [bin(part).count("1") for part in parts] == [10, 5, 5]
    assert sum(parts) == 2**20 - 1


def test_words_are_matched_by_sentence_and_place() -> None:
    X, Y = mixed(0), mixed(1)
    gone, gone_there = [0, 17, 599], [17, 18]
    moments = lca.correlate_models([store(X, without=gone), store(Y, without=gone_there)])
    kept = np.setdiff1d(np.arange(600), [*gone, *gone_there])
    np.testing.assert_allclose(moments.correlation(0, 1), plain_correlation(X[kept], Y[kept]), atol=2e-6)
    assert (moments.words, moments.words_of_any, moments.left_out) == (596, 600, (3, 2))
    assert "596 of 600 words have a vector in every model" in repr(moments)
    # A store that has fewer sentences.
    short = store(Y[:300], forms=SENTENCES[:50])
    moments = lca.correlate_models([store(X), short], layers=[[2, 0], None])
    np.testing.assert_allclose(moments.correlation(0, 1), plain_correlation(X[:300, [2, 0]], Y[:300]), atol=2e-6)
    assert moments.left_out == (0, 300)
    assert moments.axes[0].layer_names == ["residual 2", "residual 0"]


@pytest.mark.parametrize("held_out", [0.0, 0.2])
def test_a_neuron_that_float32_cannot_hold_never_changes(held_out: float) -> None:
    # Two neurons of MiniLM's last layer vary by 1e-32: their squares are nothing, their products with others are not.
    X, Y = mixed(0), mixed(1)
    X[:, 1, 3] *= 1e-32
    moments = lca.correlate_models([X, Y], held_out=held_out)
    expected = plain_correlation(X, Y)
    expected[13] = 0
    np.testing.assert_allclose(moments.correlation(0, 1), expected, atol=2e-6)
    np.testing.assert_allclose(
        lca.rank(moments, method="max_corr", of=1).scores, np.sort(np.abs(expected).max(axis=0))[::-1], atol=2e-6
    )
    assert np.isfinite(lca.layer_similarity(moments, "pwcca").values).all()


def test_the_null_shuffles_words_and_keeps_them() -> None:
    X = mixed(0)
    Y = X.reshape(600, -1)[:, ::-1].copy()
    moments = lca.correlate_models([X, Y], drawn=30)
    null = moments.null_correlation(0, 1)
    assert null.shape == (30, 30)
    assert np.abs(moments.correlation(0, 1)).max() > 0.999
    # 1/√n is the deviation of a correlation of shuffled words.
    varies = np.delete(np.delete(null, CONSTANT, axis=0), 29 - CONSTANT, axis=1)
    assert np.sqrt((varies**2).mean()) == pytest.approx(1 / np.sqrt(599), rel=0.15)
    assert (null[CONSTANT] == 0).all()
    with pytest.raises(SettingsError, match="No null was gathered"):
        lca.correlate_models([X, Y], drawn=0).null_correlation(0, 1)


def test_blocks_are_one_program_and_give_the_whole() -> None:
    X, Y = mixed(0).reshape(600, -1), mixed(1).reshape(600, -1)
    tables = [Table(lambda first, last, X=X: X[first:last], 30) for X in (X, Y)]
    wanted = [(Columns(0, 0, 30), Columns(1, 0, 30))]
    whole = sum_products(tables, 600, wanted)
    sum_products(tables, 600, wanted, block_bytes=4.0 * 60 * 64)
    with count_programs() as compiled:
        parts = sum_products(tables, 600, wanted, block_bytes=4.0 * 60 * 64)
    assert not compiled
    unit = np.sqrt(np.outer(np.maximum(whole.squares[0], 1e-6), np.maximum(whole.squares[1], 1e-6)))
    assert (np.abs(parts.products[0] - whole.products[0]) / unit).max() < 1e-6


def test_what_cannot_be_matched_is_refused() -> None:
    X, Y = mixed(0), mixed(1)
    other = [["other", *SENTENCES[0][1:]], *SENTENCES[1:]]
    with pytest.raises(SettingsError, match=r"not of one corpus: word 1 of sentence 1 is 'w0' and 'other'"):
        lca.correlate_models([store(X), store(Y, forms=other)])
    with pytest.raises(SettingsError, match="Give stores, or arrays"):
        lca.correlate_models([store(X), Y])
    with pytest.raises(SettingsError, match="of the same words"):
        lca.correlate_models([X, Y[:20]])
    with pytest.raises(DataError, match="Only 0 of 600 words"):
        lca.correlate_models([store(X, without=[*range(300)]), store(Y, without=[*range(300, 600)])])
    with pytest.raises(SettingsError, match=r"`held_out` must be in \[0, 0.5\)"):
        lca.correlate_models([X, Y], held_out=0.5)
    with pytest.raises(SettingsError, match="2 sentences cannot be divided into three parts"):
        lca.correlate_models([X[:2], Y[:2]], held_out=0.3)
    with pytest.raises(SettingsError, match="at least one model, and layers for each"):
        lca.correlate_models([store(X), store(Y)], layers=[[1]])
    with pytest.raises(SettingsError, match="Models 0 and 0 were not compared"):
        lca.correlate_models([X, Y]).correlation(0, 0)
    moments = lca.correlate_models([X, Y], within=False)
    with pytest.raises(SettingsError, match="Products within layers were not gathered"):
        moments.within(moments.whole, 0, 0)
    broken = X.copy()
    broken[20, 1, 3] = np.inf
    with pytest.raises(DataError, match=r"residual layer 1, neuron 3 of 'w20', word 3 of sentence 4"):
        lca.correlate_models([store(Y), store(broken)])
