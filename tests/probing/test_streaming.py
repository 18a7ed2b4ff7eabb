"""X in blocks, in bfloat16 and split over devices: the same probes as from X on one device."""

import warnings
from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType

from lca_jax import ElasticNet, fit_probes
from lca_jax.errors import DataError, NotConverged, SettingsError
from lca_jax.probing import room
from lca_jax.probing.batching import fit_on_matrix
from lca_jax.probing.labelling import Labelling
from lca_jax.probing.losses.cross_entropy import LOSS
from lca_jax.probing.losses.loss import word_weights
from lca_jax.probing.matrix import streamed
from lca_jax.probing.matrix.block import correlations, scores
from lca_jax.probing.matrix.held import HeldMatrix, hold_matrix, sweep_block
from lca_jax.probing.matrix.source import MatrixSource
from lca_jax.probing.matrix.streamed import StreamedMatrix, stream_matrix
from lca_jax.probing.objective import PenaltyName, SolverName
from lca_jax.probing.placement import place_problems
from lca_jax.probing.probe import Probe
from lca_jax.probing.problems import Problems, Question
from lca_jax.probing.room import choose_streaming
from lca_jax.store.folder import CHUNK_WORDS
from tests.compilations import count_programs
from tests.probing.planted import TIGHT, assert_same_weights, objective, planted
from tests.stores import planted_store

WORDS, FEATURES = 203, 12
X, Y = planted(WORDS, FEATURES, [0.4, 0.3, 0.2, 0.1], noise=2.0)
BLOCKS = 1_000.0
"""Bytes: two words on each of eight devices, so that thirteen blocks end in an empty one."""


def in_blocks(**options: Any) -> StreamedMatrix:
    return stream_matrix(MatrixSource.of(X), standardize=True, block_bytes=BLOCKS, **options)


def in_memory(**options: Any) -> HeldMatrix:
    return hold_matrix(MatrixSource.of(X), standardize=True, **options)


def labelling(numbers: np.ndarray, weights: np.ndarray | None = None) -> Labelling:
    classes = tuple(str(number) for number in np.unique(numbers[numbers >= 0]))
    return Labelling(task="y", control=False, classes=classes, numbers=numbers.astype(np.int32), weights=weights)


def labellings() -> list[Labelling]:
    masked = np.where(np.arange(WORDS) % 5 == 0, -1, Y)
    return [labelling(Y), labelling(masked), labelling(Y, weights=1 + np.arange(WORDS) % 3.0)]


def assert_same_probes(found: list[Probe], expected: list[Probe], *, gap: float = 2 * TIGHT) -> None:
    assert len(found) == len(expected)
    for one, other in zip(found, expected, strict=True):
        assert one.objective == pytest.approx(other.objective, abs=gap)
        assert_same_weights(one.weights, other.weights)


def test_products_mean_and_deviation_are_those_of_the_whole() -> None:
    matrix, whole = in_blocks(), in_memory()
    np.testing.assert_allclose(matrix.mean, X.mean(axis=0), rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(matrix.scale, X.std(axis=0), rtol=1e-5)
    assert matrix.padded_words >= WORDS
    assert matrix.blocks > 5
    rng = np.random.default_rng(0)
    W = jnp.asarray(rng.normal(size=(2, 3, FEATURES)), jnp.float32)
    standard = (X - X.mean(axis=0)) / X.std(axis=0)
    expected = np.einsum("nd,pcd->pcn", standard, W)
    np.testing.assert_allclose(np.asarray(matrix.scores(W))[..., :WORDS], expected, atol=2e-5)
    np.testing.assert_allclose(np.asarray(whole.scores(W))[..., :WORDS], expected, atol=2e-5)
    R = np.zeros((2, 3, matrix.padded_words), np.float32)
    R[..., :WORDS] = rng.normal(size=(2, 3, WORDS))
    found = np.asarray(matrix.correlations(jnp.asarray(R)))
    np.testing.assert_allclose(found, np.einsum("nd,pcn->pcd", standard, R[..., :WORDS]), atol=5e-4)


def test_a_sweep_over_blocks_is_that_over_the_whole() -> None:
    """Scores, the products with what follows from them, and sums; of words that count differently in two problems."""
    rng = np.random.default_rng(0)
    U = jnp.asarray(rng.normal(size=(2, 4, FEATURES)), jnp.float32)
    weightings = (None, 1 + np.arange(WORDS) % 3)
    questions = [Question(Y, weights, 4, 0.0, 0.0, np.ones(FEATURES, bool)) for weights in weightings]

    def visit(problems: Problems, by_problem: Any, by_word: Any, Z: Any) -> tuple[Any, Any]:
        R = jnp.sin(Z + by_word) * word_weights(problems, LOSS)[:, None, :] * by_problem[:, None, None]
        return R, R.sum(axis=2)

    sweeps = []
    for matrix in (in_blocks(), in_memory()):
        padding = ((0, 0), (0, 0), (0, matrix.padded_words - WORDS))
        by_word = jnp.asarray(np.pad(np.random.default_rng(1).normal(size=(2, 4, WORDS)), padding), jnp.float32)
        problems = place_problems(
            questions, LOSS, classes=4, mesh=matrix.mesh, padded_words=matrix.padded_words, weighted=False
        )
        arrays = (U, problems, jnp.array([1.0, 2.0]), by_word)
        in_parts = isinstance(matrix, StreamedMatrix)
        sweeps.append(matrix.sweep(visit, *arrays) if in_parts else sweep_block(matrix.block, *arrays, visit=visit))
    blocks, whole = sweeps
    np.testing.assert_allclose(blocks.Z[..., :WORDS], whole.Z[..., :WORDS], atol=2e-5)
    np.testing.assert_allclose(blocks.products, whole.products, atol=2e-6)
    np.testing.assert_allclose(blocks.sums, whole.sums, atol=1e-6)
    assert np.abs(whole.products).max() > 0.01


def test_an_iteration_reads_every_word_once() -> None:
    read: list[int] = []

    def read_into(first: int, target: np.ndarray) -> None:
        read.append(len(target))
        target[...] = X[first : first + len(target)]

    matrix = stream_matrix(MatrixSource(WORDS, FEATURES, read_into), standardize=True, block_bytes=BLOCKS)
    matrix.metric()  # is read once
    totals = []
    for iterations in (3, 8):
        read.clear()
        net = ElasticNet(l1=(1e-4, 1e-3), l2=1e-4, tolerance=1e-7, max_iterations=iterations)
        with pytest.warns(NotConverged):
            fit_on_matrix(matrix, [labelling(Y)], net)
        totals.append(sum(read) / WORDS)
    # One reading serves both problems.
    assert totals[1] - totals[0] == 5


@pytest.mark.slow
@pytest.mark.parametrize("penalty", ["elastic_net", "neurox"])
def test_certificates_from_blocks_are_never_smaller_than_the_true_gap(penalty: PenaltyName) -> None:
    net = ElasticNet(l1=2e-3, l2=5e-3, penalty=penalty, tolerance=2e-5)
    (best,) = fit_on_matrix(in_memory(), [labelling(Y)], net)
    for iterations in (1, 2, 5, 12, 1000):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", NotConverged)
            (probe,) = fit_on_matrix(in_blocks(), [labelling(Y)], replace(net, max_iterations=iterations))
        standard = (X.astype(np.float64) - probe.mean) / probe.scale
        reached = objective(probe.weights, probe.bias, standard, Y, 2e-3, 5e-3, neurox=penalty == "neurox")
        assert reached == pytest.approx(probe.objective, abs=2e-6)
        assert reached - best.objective <= probe.duality_gap + 1e-7
        assert probe.iterations <= iterations
    assert probe.converged


@pytest.mark.slow
@pytest.mark.parametrize("solver", ["proximal", "adam"])
def test_probes_from_blocks_are_those_of_the_whole(solver: SolverName) -> None:
    net = ElasticNet(l1=(1e-3, 5e-3), l2=1e-2, tolerance=TIGHT, solver=solver, epochs=40, batch_size=16)
    found = fit_on_matrix(in_blocks(), labellings(), net)
    expected = fit_on_matrix(in_memory(), labellings(), net)
    if solver == "proximal":
        assert_same_probes(found, expected)
    else:
        # Mini-batches are others: both end near the optimum, by a certificate that is still valid.
        for one, other in zip(found, expected, strict=True):
            assert one.objective - other.objective <= one.duality_gap
            assert one.objective == pytest.approx(other.objective, rel=0.03)


@pytest.mark.slow
def test_layers_from_blocks_are_those_of_the_whole() -> None:
    store = planted_store(words=120)
    net = ElasticNet(l1=2e-3, l2=1e-2, tolerance=TIGHT)
    expected = fit_probes(store, net, subsets="layers", stream=False)
    found = fit_probes(store, net, subsets="layers", stream=True)
    assert found.subsets == expected.subsets
    assert_same_probes(list(found), list(expected))


@pytest.mark.parametrize("l2", [1e-2, 2e-2])
def test_one_device_and_eight_find_the_same_weights(l2: float, monkeypatch: pytest.MonkeyPatch) -> None:
    """To what float32 rounds when it sums in another order; the less convex the objective, the more of it is left."""
    net = ElasticNet(l1=(1e-3, 5e-3), l2=l2)
    eight = fit_on_matrix(in_memory(), labellings(), net)
    one_mesh = jax.make_mesh((1, 1), ("data", "model"), (AxisType.Auto,) * 2, devices=jax.local_devices()[:1])
    monkeypatch.setattr("lca_jax.probing.matrix.held.joint_mesh", lambda parts: one_mesh)  # noqa: ARG005
    matrix = in_memory()
    assert matrix.mesh.size == 1
    found = fit_on_matrix(matrix, labellings(), net)
    for number, (one, other) in enumerate(zip(found, eight, strict=True)):
        assert one.iterations == other.iterations
        away = one.weights - other.weights
        assert np.linalg.norm(away) < 5e-6 * np.linalg.norm(other.weights)
        weighted = number >= 2 * len(net.pairs)
        if not weighted or l2 > 1e-2:
            assert np.abs(away).max() < 3e-6 * np.abs(other.weights).max()


@pytest.mark.slow
def test_columns_split_over_devices_give_the_same_probes() -> None:
    net = ElasticNet(l1=2e-3, l2=1e-2, tolerance=TIGHT)
    expected = fit_on_matrix(in_memory(), labellings(), net)
    split = in_memory(split_over=4)
    assert split.block.X.sharding.shard_shape(split.block.X.shape) == (104, 3)
    assert_same_probes(fit_on_matrix(split, labellings(), net), expected)
    assert_same_probes(fit_on_matrix(in_blocks(split_over=2), labellings(), net), expected)


@pytest.mark.parametrize("make", [in_memory, in_blocks])
def test_columns_that_cannot_be_shared_out_are_refused(make: Any) -> None:
    with pytest.raises(SettingsError, match="12 columns cannot be split over 8 devices"):
        make(split_over=8)


@pytest.mark.parametrize("layers", [None, 3])
@pytest.mark.parametrize("split_over", [1, 2, 4])
def test_columns_are_split_after_one_reading(split_over: int, layers: int | None) -> None:
    """Every word is read once to hold X, and once for each pass over its blocks, however many devices share it."""
    read: list[int] = []

    def read_into(first: int, target: np.ndarray) -> None:
        read.append(len(target))
        target[...] = X[first : first + len(target)]

    source = MatrixSource(WORDS, FEATURES, read_into, layers=layers)
    held = hold_matrix(source, standardize=True, split_over=split_over)
    assert sum(read) == WORDS
    read.clear()
    blocks = stream_matrix(source, standardize=True, split_over=split_over, block_bytes=BLOCKS)
    assert sum(read) == WORDS
    assert blocks.metric().factor.shape == held.metric().factor.shape
    assert sum(read) == 2 * WORDS
    np.testing.assert_allclose(blocks.mean, held.mean, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("make", [hold_matrix, stream_matrix])
def test_a_matrix_in_bfloat16_gives_certified_probes_of_the_rounded_words(make: Any) -> None:
    """The optimum of the rounded X, by its own certificate; near that of X by as much as the rounding moves it."""
    net = ElasticNet(l1=2e-3, l2=1e-2, tolerance=1e-5)
    rounded = np.asarray(jnp.asarray(X).astype(jnp.bfloat16).astype(jnp.float32))
    (expected,) = fit_on_matrix(hold_matrix(MatrixSource.of(rounded), standardize=True), [labelling(Y)], net)
    (found,) = fit_on_matrix(make(MatrixSource.of(X), standardize=True, dtype="bfloat16"), [labelling(Y)], net)
    assert found.converged
    assert_same_probes([found], [expected], gap=3e-5)


def test_products_of_a_matrix_in_bfloat16_are_float32() -> None:
    matrix = in_memory(dtype="bfloat16")
    W = jnp.asarray(np.random.default_rng(0).normal(size=(2, 3, FEATURES)), jnp.float32)
    rounded = np.asarray(matrix.block.X.astype(jnp.float32), np.float64)[:WORDS]
    standard = (rounded - np.asarray(matrix.mean)) / np.asarray(matrix.scale)
    expected = np.einsum("nd,pcd->pcn", standard, np.asarray(W, np.float64))
    assert np.abs(np.asarray(scores(matrix.block, W))[..., :WORDS] - expected).max() < 1e-4
    R = (
        jnp.asarray(np.random.default_rng(1).normal(size=(2, 3, matrix.padded_words)), jnp.float32)
        .at[..., WORDS:]
        .set(0)
    )
    expected = np.einsum("nd,pcn->pcd", standard, np.asarray(R, np.float64)[..., :WORDS])
    assert np.abs(np.asarray(correlations(matrix.block, R)) - expected).max() < 1e-3


def test_blocks_compile_once_however_many_there_are() -> None:
    net = ElasticNet(l1=2e-3, l2=1e-2)
    fit_on_matrix(in_blocks(), [labelling(Y)], net)
    with count_programs() as programs:
        fit_on_matrix(in_blocks(), [labelling(np.roll(Y, 7))], replace(net, l1=4e-3))
    assert not programs


def test_memory_decides_what_is_streamed(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    source = MatrixSource(words=1000, features=100, read_into=lambda first, target: target.fill(first))
    for free, expected in ((None, False), (900_000, False), (700_000, True)):
        monkeypatch.setattr(room, "free_bytes", lambda free=free: free)
        with caplog.at_level("INFO"):
            assert choose_streaming(source, dtype="float32") is expected
    assert "1000 words of 100 neurons" in caplog.text
    assert "read in blocks at every iteration" in caplog.text
    monkeypatch.setattr(room, "free_bytes", lambda: 700_000)
    assert not choose_streaming(source, dtype="bfloat16")


def test_bad_blocks_are_named() -> None:
    broken = X.copy()
    broken[150, 3] = np.nan
    with pytest.raises(DataError, match=r"word 150, feature 3 is nan \(1 such values in 1 of 203 words\)"):
        stream_matrix(MatrixSource.of(broken), standardize=True, block_bytes=BLOCKS)
    for make in (hold_matrix, stream_matrix):
        with pytest.raises(DataError, match="at least one labelled word"):
            make(MatrixSource.of(X[:0]), standardize=True)


def test_an_error_of_reading_reaches_the_caller_and_ends_the_reading(monkeypatch: pytest.MonkeyPatch) -> None:
    """An error while reading reaches the caller, and no thread goes on reading."""
    read: list[int] = []

    def breaks(first: int, target: np.ndarray) -> None:
        read.append(first)
        if len(read) > 40:
            raise OSError("gone")
        target[...] = X[first : first + len(target)]

    monkeypatch.setattr(streamed, "BLOCKS_AHEAD", 1)
    with pytest.raises(OSError, match="gone"):
        stream_matrix(MatrixSource(WORDS, FEATURES, breaks), standardize=True, block_bytes=BLOCKS)
    assert len(read) == 41


@pytest.mark.parametrize("words", [9, 640, 1_000, 125_000, 1_000_000, 1_124_352])
def test_blocks_are_even(words: int) -> None:
    """Nine blocks of which the last has eight hundred words are an eighth of the time too many."""
    source = MatrixSource(words=words, features=128, read_into=lambda _, target: target.fill(1))
    made = stream_matrix(source, standardize=False)
    devices = made.mesh.shape["data"]
    assert made.block_words * devices * 128 * 4 <= 64e6
    assert made.block_words % CHUNK_WORDS == 0 or made.blocks == 1
    assert words <= made.padded_words < words + CHUNK_WORDS * made.blocks * devices
