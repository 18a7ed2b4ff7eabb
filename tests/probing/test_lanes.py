"""The queue of the exact solver: its width, its order, and its programs."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import Mesh

from lca_jax import ElasticNet
from lca_jax.machine.devices import joint_mesh
from lca_jax.probing.batching import fit_on_matrix
from lca_jax.probing.choices import loss_named, penalty_named
from lca_jax.probing.labelling import Labelling
from lca_jax.probing.matrix.held import hold_matrix
from lca_jax.probing.matrix.metric import factor_of_words, make_metric
from lca_jax.probing.matrix.source import MatrixSource
from lca_jax.probing.matrix.streamed import stream_matrix
from lca_jax.probing.problems import Question
from lca_jax.probing.solvers.lanes import PlacedLabels, answer_of, enter, keep_lanes, lane_of, over, spread
from lca_jax.probing.solvers.proximal import lanes_of
from lca_jax.probing.solvers.stepping import advance
from tests.compilations import count_programs
from tests.probing.planted import SHAPES, TIGHT, assert_same_weights, objective, planted, problems_of

LOSS = loss_named("cross_entropy")


def questions(count: int, *, classes: int, parents: list[int | None] | None = None) -> list[Question]:
    labels, keep = np.zeros(3, np.int32), np.ones(2, bool)
    before = parents or [None] * count
    return [
        Question(labels=labels, weights=None, classes=classes, l1=0.1, l2=0.1, keep=keep, parent=parent)
        for parent in before
    ]


@pytest.mark.parametrize(
    ("count", "classes", "at_once", "on_one", "on_eight"),
    [
        (1, 17, 100, 1, 1),
        (5, 17, 100, 6, 6),  # the next width that is compiled
        (64, 17, 100, 8, 8),  # 136 columns keep a CPU busy
        (64, 2, 100, 64, 64),
        (1000, 2, 1000, 64, 64),
        (64, 500, 100, 1, 8),  # each device has a problem
        (64, 2, 5, 5, 5),  # memory alone goes below
        (64, 2, 21, 21, 16),  # each has as many as any other
    ],
)
def test_the_batch_is_as_wide_as_the_devices_need(
    count: int, classes: int, at_once: int, on_one: int, on_eight: int
) -> None:
    asked = questions(count, classes=classes)
    assert [lanes_of(asked, mesh_of(devices), at_once=at_once) for devices in (1, 8)] == [on_one, on_eight]


def test_a_path_needs_one_lane() -> None:
    assert lanes_of(questions(4, classes=2, parents=[None, 0, 1, 2]), mesh_of(8), at_once=100) == 1


def mesh_of(devices: int) -> Mesh:
    return Mesh(np.array(jax.devices()[:devices]).reshape(devices, 1), ("data", "model"))


@pytest.mark.parametrize(
    ("layered", "streamed", "devices_each"),
    [(False, False, 1), (False, True, 1), (True, False, 1), (True, True, 1), (False, False, 2), (True, True, 4)],
)
def test_each_device_has_its_own_problems(layered: bool, streamed: bool, devices_each: int) -> None:
    """Weights lie where their problem is worked on, before and after iterations; the answers are those of one alone.

    With fewer problems than devices several work on the same one, and all hold all weights.
    """
    X, y = SHAPES["usual"]
    source = source_of_layers(np.stack([X, X[:, ::-1]]) if layered else X)
    make = partial(stream_matrix, block_bytes=1e4) if streamed else hold_matrix
    matrix = make(source, standardize=True)
    problems = matrix.mesh.size // devices_each
    values = np.geomspace(0.05, 0.5, problems).tolist()
    asked = [
        Question(labels=y.astype(np.int32), weights=None, classes=4, l1=l1, l2=0.1, keep=np.ones(X.shape[1], bool))
        for l1 in values
    ]
    labels = PlacedLabels.of(asked[0], matrix, LOSS, classes=4, weighted=False)
    layout = {"layered": layered, "mesh": matrix.mesh}
    lanes = spread(lane_of(asked[0], labels, None, matrix, tolerance=1e-5), problems, **layout)
    for place in range(1, problems):
        one = lane_of(asked[place], labels, None, matrix, tolerance=1e-5)
        lanes = enter(lanes, one, np.int32(place), **layout)
    options = {"loss": LOSS, "penalty": penalty_named("elastic_net"), "max_iterations": 500}
    before = [array.sharding for array in (lanes.state.W, lanes.state.W_before, lanes.state.gradient, lanes.means)]
    lanes = advance(matrix, lanes, list(range(problems)), problems, **options)
    after = [array.sharding for array in (lanes.state.W, lanes.state.W_before, lanes.state.gradient, lanes.means)]
    assert before == after
    for own in after if devices_each == 1 else ():
        shape = own.shard_shape((2, problems, 4, X.shape[1]) if layered else (problems, 4, X.shape[1]))
        assert shape[int(layered)] == 1
    for place in {0, problems // 2, problems - 1}:
        alone = lane_of(asked[place], labels, None, matrix, tolerance=1e-5)
        alone = advance(matrix, alone, [0], 1, **options)
        found, expected = (answer_of(of.state, at, 1.0, matrix) for of, at in ((lanes, place), (alone, 0)))
        assert found.converged.all()
        np.testing.assert_allclose(found.weights, expected.weights, atol=1e-3)
        np.testing.assert_allclose(found.objective, expected.objective, rtol=1e-5)


def test_more_problems_than_lanes_are_solved_as_alone() -> None:
    """Forty pairs of two classes in paths of four: problems enter lanes that others left, and a path takes turns."""
    X, y = SHAPES["usual"]
    binary = (y > 0).astype(np.int32)
    l1, l2 = tuple(np.geomspace(1e-3, 1e-1, 70).tolist()), (1e-2, 1e-1)
    together = problems_of(X, binary, ElasticNet(l1=l1, l2=l2, tolerance=TIGHT))
    assert len(together) == 140
    assert all(probe.converged for probe in together)
    for place in (0, 1, 77, 138, 139):
        found = together[place]
        (alone,) = problems_of(X, binary, ElasticNet(l1=found.l1, l2=found.l2, tolerance=TIGHT))
        assert found.objective == pytest.approx(alone.objective, abs=2 * TIGHT)
        assert_same_weights(found.weights, alone.weights)


def test_problems_that_enter_and_leave_compile_nothing() -> None:
    X, y = SHAPES["usual"]
    values = tuple(np.geomspace(1e-3, 1e-1, 12).tolist())
    problems_of(X, y, ElasticNet(l1=values, l2=(1e-2,), tolerance=TIGHT))
    with count_programs() as compiled:
        problems_of(X, y, ElasticNet(l1=values, l2=(1e-2, 3e-2, 1e-1), tolerance=TIGHT))
        problems_of(X, y, ElasticNet(l1=values, l2=(1e-2,), tolerance=TIGHT, max_iterations=777))
    assert compiled == []


@pytest.mark.parametrize("layered", [False, True])
def test_problems_stay_themselves_in_whatever_lane(layered: bool) -> None:
    """Three problems enter a batch of four; two of them go on in a narrower one."""
    X, y = SHAPES["usual"]
    layers = np.stack([X, X[:, ::-1]]) if layered else X
    matrix = hold_matrix(source_of_layers(layers), standardize=True)
    asked = [
        Question(labels=y.astype(np.int32), weights=None, classes=4, l1=l1, l2=0.1, keep=np.ones(X.shape[1], bool))
        for l1 in (0.5, 0.25, 0.125)
    ]
    labels = PlacedLabels.of(asked[0], matrix, LOSS, classes=4, weighted=False)
    first, *others = [lane_of(question, labels, None, matrix, tolerance=1e-4) for question in asked]
    layout = {"layered": layered, "mesh": matrix.mesh}
    lanes = spread(first, 4, **layout)
    assert over(lanes.state, matrix, 10).tolist() == [False, True, True, True]
    for place, other in zip((1, 3), others, strict=True):
        lanes = enter(lanes, other, np.int32(place), **layout)
    assert over(lanes.state, matrix, 10).tolist() == [False, False, True, False]
    lanes = advance(matrix, lanes, [0, 1, 3], 3, loss=LOSS, penalty=penalty_named("elastic_net"), max_iterations=500)
    narrow = keep_lanes(lanes, np.array([3, 1], np.int32), **layout)
    np.testing.assert_array_equal(narrow.problems.l1, np.array([0.125, 0.25], np.float32))
    for place, lane in ((0, 3), (1, 1)):
        wide, kept = (answer_of(of.state, at, 1.0, matrix) for of, at in ((lanes, lane), (narrow, place)))
        np.testing.assert_array_equal(wide.weights, kept.weights)
        assert kept.converged.all()
        assert kept.weights.shape == (1 + layered, 4, X.shape[1])
    assert not np.array_equal(narrow.state.W[..., 0, :, :], narrow.state.W[..., 1, :, :])


def source_of_layers(X: np.ndarray) -> MatrixSource:
    """A source of one matrix, or of one for each layer whose columns stand one after another."""
    if X.ndim == 2:
        return MatrixSource.of(X)
    flat = np.concatenate(list(X), axis=1)
    return MatrixSource.of(flat)._replace(layers=len(X))


@pytest.mark.parametrize("features", [40, 800])
def test_a_corpus_of_about_the_same_size_shares_the_programs(features: int) -> None:
    """Each language of a survey has a number of words of its own, and a program takes seconds to compile."""
    rng = np.random.default_rng(0)
    settings = ElasticNet(l1=1e-1, l2=1e-1, tolerance=1e-2)
    X, y = planted(2040, features, [0.4, 0.3, 0.3], noise=6.0)
    problems_of(X, y, settings)
    fewer = np.sort(rng.permutation(2040)[:1930])
    with count_programs() as compiled:
        problems_of(X[fewer], y[fewer], settings)
    assert "jit(advance_whole)" not in compiled
    assert len(compiled) <= 1  # the metric's, which is small


@pytest.mark.parametrize("words", [500, 2000])
def test_a_thin_metric_is_that_of_its_words(words: int) -> None:
    rng = np.random.default_rng(0)
    X = rng.normal(size=(words, 900)).astype(np.float32)
    metric = make_metric(factor_of_words(jnp.asarray(X), words), joint_mesh())
    share = 0.13
    gram = X.T.astype(np.float64) @ X / words
    expected = (1 - share) * gram + share * np.trace(gram) / 900 * np.eye(900)
    change = rng.normal(size=(2, 3, 900)).astype(np.float32)
    np.testing.assert_allclose(metric.times(jnp.asarray(change)), change @ expected, rtol=2e-4, atol=2e-4)
    largest = np.linalg.eigvalsh(expected)[-1]
    assert largest <= metric.largest <= 1.06 * largest


@pytest.mark.parametrize("stream", [False, True])
def test_wide_matrices_are_certified_in_a_thin_metric(stream: bool) -> None:
    """The gap covers the distance to the optimum, here bounded by a much tighter solve in float64 (saga)."""
    linear_model = pytest.importorskip("sklearn.linear_model")
    X, y = planted(1200, 800, [0.4, 0.3, 0.3], noise=6.0)
    source = MatrixSource.of(X)
    matrix = (
        stream_matrix(source, standardize=True, block_bytes=1e6) if stream else hold_matrix(source, standardize=True)
    )
    labelling = Labelling(task="t", control=False, classes=("0", "1", "2"), numbers=y.astype(np.int32))
    (probe,) = fit_on_matrix(matrix, [labelling], ElasticNet(l1=1e-2, l2=1e-1))
    standard = (X.astype(np.float64) - probe.mean) / probe.scale
    total = 1e-2 + 1e-1
    saga = linear_model.LogisticRegression(
        solver="saga", C=1 / (total * len(y)), l1_ratio=1e-2 / total, tol=1e-7, max_iter=3000
    ).fit(standard, y)
    best = objective(saga.coef_.T, saga.intercept_, standard, y, 1e-2, 1e-1)
    own = objective(probe.weights.astype(np.float64), probe.bias, standard, y, 1e-2, 1e-1)
    assert probe.converged
    assert own == pytest.approx(probe.objective, abs=1e-5)
    assert own - best <= probe.duality_gap + 1e-6
