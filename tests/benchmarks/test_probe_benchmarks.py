"""The probe benchmarks: peers against independent oracles, what refuses a wrong result, and the programs end to end."""

import json
import sys
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from benchmarks import bench_grid, bench_probe, bench_stream, harness, reference
from benchmarks.probing import ours, peers
from benchmarks.probing.agreement import common_share
from benchmarks.probing.curves import Competitor, Step, draw_curve
from benchmarks.probing.grid import check_grid
from benchmarks.probing.program import TOLERANCE
from benchmarks.probing.reached import Problem, Solution, accuracy, pose_problem, solution_of
from benchmarks.probing.words import Split, Words, tell_from_rest
from lca_jax.demo import demo_corpus_file
from lca_jax.probing.objective import ElasticNet
from lca_jax.text.conllu import read_conllu
from tests.stores import write_planted_store
from tests.tiny_bert import write_bert

NET = ElasticNet(l1=0.01, l2=0.02, standardize=False)


def draw_words(count: int, generator: np.random.Generator) -> Words:
    X = generator.standard_normal((count, 12)).astype(np.float32)
    y = np.argmax(X[:, :3] + 0.7 * generator.standard_normal((count, 3)) + [0, 0.3, 1], axis=1).astype(np.int32)
    return Words(X, y, generator.permutation(y), np.arange(count) // 5)


@pytest.fixture(scope="module")
def split() -> Split:
    generator = np.random.default_rng(0)
    return Split(draw_words(300, generator), draw_words(100, generator), ("a", "b", "c"))


@pytest.fixture(scope="module")
def problem(split: Split) -> Problem:
    return pose_problem(split, NET)


@pytest.fixture(scope="module")
def binary(split: Split) -> Problem:
    return pose_problem(tell_from_rest(split, "c"), NET)


@pytest.fixture(scope="module")
def lasso(split: Split) -> Problem:
    return pose_problem(tell_from_rest(split, "c"), replace(NET, l2=0.0))


# The clock


def test_steps_are_timed_without_what_is_done_between() -> None:
    import time

    def slow() -> Iterator[int]:
        for number in range(2):
            time.sleep(0.02)
            yield number

    seen = []
    for number, lap in harness.clock_steps(slow()):
        time.sleep(0.2)
        seen.append(number)
        assert 0.02 <= lap.wall_s < 0.2
        assert lap.compile_s == 0
    assert seen == [0, 1]
    assert harness.Lap(2.0, 3.0, 0.5).plus(harness.Lap(1.0, 1.0, 0.5)) == (3.0, 4.0, 1.0)
    assert harness.Lap(2.0, 3.0, 0.5).run_s == 1.5


# What was reached


def test_parts_give_the_objective_of_every_pair(split: Split) -> None:
    generator = np.random.default_rng(1)
    W, b = generator.standard_normal((12, 3)).astype(np.float32), generator.standard_normal(3).astype(np.float32)
    train = split.train
    labels = (train.y, train.control)
    together = reference.measure_parts(train.X, [(y, W * (place + 1), b) for place, y in enumerate(labels)])
    for place, (parts, y) in enumerate(zip(together, labels, strict=True)):
        scores = train.X.astype(np.float64) @ (W.astype(np.float64) * (place + 1)) + b
        chosen = scores[np.arange(len(y)), y]
        by_hand = np.log(np.exp(scores).sum(axis=1)).mean() - chosen.mean()
        assert parts.loss == pytest.approx(by_hand, rel=1e-9)
        norm = np.linalg.norm(W * (place + 1))
        assert parts.objective(l1=0.0, l2=0.5, penalty="neurox") == pytest.approx(by_hand + 0.5 * norm, rel=1e-6)
        assert parts.objective(l1=0.0, l2=0.5, penalty="elastic_net") == pytest.approx(
            by_hand + 0.25 * norm**2, rel=1e-6
        )


def test_the_bound_without_l2_is_below_the_optimum_and_near_it(lasso: Problem) -> None:
    assert 0 <= lasso.optimum - lasso.lower_bound <= 2e-6 * lasso.null


def test_what_a_competitor_reached(problem: Problem) -> None:
    train = problem.split.train
    (probe,) = ours.fit(train.X, [train.y], problem.net, classes=problem.split.classes)
    reached = problem.measure("lca_jax", solution_of(probe))
    assert reached["objective"] == pytest.approx(probe.objective, rel=1e-6)
    assert 0 <= reached["above_reference_share"] <= (reached["certificate_share"] or 0) <= problem.net.tolerance
    nothing = Solution(0 * probe.weights, np.log(np.bincount(train.y) / len(train.y)).astype(np.float32))
    assert problem.measure("nothing", nothing)["above_reference_share"] == pytest.approx(
        1 - problem.optimum / problem.null
    )


def test_a_certificate_that_does_not_hold_is_no_result(problem: Problem) -> None:
    zeros = Solution(np.zeros((12, 3), np.float32), np.zeros(3, np.float32), certificate=1e-3)
    with pytest.raises(ValueError, match=r"liar: .* above the reference, but certified to 1\.000e-03"):
        problem.measure("liar", zeros)
    with pytest.raises(ValueError, match=r"liar: .* is below the optimum's lower bound 2\.0"):
        problem._replace(lower_bound=2.0).measure("liar", zeros._replace(certificate=None))


def test_a_problem_of_the_grid_is_held_against_all_others(split: Split) -> None:
    net = replace(NET, l1=(1e-2, 1e-3), l2=(1e-2,))
    train = split.train
    probes = ours.fit(train.X, [train.y, train.control], net, classes=split.classes)
    rows = list(check_grid(split, net, probes, {}))
    assert [(row["l1"], row["control"]) for row in rows] == [(1e-2, False), (1e-3, False), (1e-2, True), (1e-3, True)]
    for row, probe in zip(rows, probes, strict=True):
        assert row["objective"] == pytest.approx(probe.objective, rel=1e-6)
        labels = split.unseen.control if row["control"] else split.unseen.y
        assert row["accuracy"] == accuracy(split.unseen, solution_of(probe), labels=labels)
    # The incumbent is given weights that beat a probe whose certificate says that nothing can.
    better = {(32, 1e-2, 1e-2): solution_of(probes[0])}
    worse = replace(probes[0], weights=probes[0].weights * 0, duality_gap=1e-6)
    with pytest.raises(ValueError, match=r"l1=0\.01, l2=0\.01: .* above a known point, but certified to 1\.0"):
        list(check_grid(split, net, [worse, *probes[1:]], better))
    honest = next(check_grid(split, net, [replace(worse, duality_gap=1.0), *probes[1:]], better))
    assert honest["incumbent_32_above_share"] == pytest.approx(-float(str(honest["above_best_known_share"])))


def test_rankings_in_common_by_hand() -> None:
    # One class: the ranking is by magnitude. First two of ten: {0, 1} and {1, 2}.
    first = np.array([9, 8, 7, 1, 1, 1, 1, 1, 1, 1], np.float32)[:, None]
    second = np.array([1, 8, 9, 1, 1, 1, 1, 1, 1, 7], np.float32)[:, None]
    assert common_share(first, second, fraction=0.2) == 0.5
    assert common_share(first, first, fraction=0.01) == 1.0
    assert common_share(first, second, fraction=0.1) == 0.0


# The words


def test_one_class_against_the_rest_and_parts_of_the_words(split: Split) -> None:
    binary = tell_from_rest(split)
    assert binary.classes == ("not c", "c")  # the most frequent
    np.testing.assert_array_equal(binary.train.y, split.train.y == 2)
    np.testing.assert_array_equal(binary.unseen.control, split.unseen.control == 2)
    with pytest.raises(ValueError, match="one of the classes a, b, c, got 'd'"):
        tell_from_rest(split, "d")
    part = split.leading(40).with_features(5)
    assert part.train.X.shape == (40, 5)
    assert part.unseen.X.shape == (100, 5)
    np.testing.assert_array_equal(part.train.sentences, split.train.sentences[:40])


# Curves


def test_a_curve_adds_up_and_ends(problem: Problem) -> None:
    train = problem.split.train
    tight = replace(problem.net, tolerance=1e-6)
    (best,) = ours.fit(train.X, [train.y], tight, classes=problem.split.classes)
    near = Solution(best.weights * np.float32(1.01), best.bias)
    far = Solution(best.weights * 0, best.bias)
    laps = [harness.Lap(1.0, 2.0, 0.25)] * 3
    steps = [Step(f"{place}", *each) for place, each in enumerate(zip((far, near, far), laps, strict=True))]
    curve = draw_curve(problem, "one", Competitor(lambda: iter(steps), limit_s=10.0))
    assert (curve["ended"], curve["seconds_to_target"]) == ("budgets", 0.75)
    assert [point["seconds"] for point in _points(curve)] == [0.75, 0.75, 0.75]
    adding = draw_curve(problem, "one", Competitor(lambda: iter(steps), continuing=True, limit_s=1.5))
    assert adding["ended"] == "time limit"
    assert [point["seconds"] for point in _points(adding)] == [0.75, 1.5]
    assert adding["seconds_to_target"] == 1.5
    never = draw_curve(problem, "one", Competitor(lambda: iter(steps[:1]), limit_s=10.0))
    assert never["seconds_to_target"] is None
    done = draw_curve(problem, "one", Competitor(lambda: iter([Step("0", solution_of(best)), *steps]), limit_s=10.0))
    assert (done["ended"], len(_points(done))) == ("reached", 1)


def _points(curve: dict[str, object]) -> list[dict[str, object]]:
    points = curve["points"]
    assert isinstance(points, list)
    return points


# The peers


def test_two_classes_are_a_logistic_probe(binary: Problem) -> None:
    generator = np.random.default_rng(2)
    train, l1, l2 = binary.split.train, 0.01, 0.02
    w, b = generator.standard_normal(12).astype(np.float32), 0.3
    signs = 2.0 * train.y - 1
    loss = np.logaddexp(0, -signs * (train.X.astype(np.float64) @ w.astype(np.float64) + b)).mean()
    logistic = loss + l1 * np.abs(w, dtype=np.float64).sum() + l2 / 4 * (w.astype(np.float64) ** 2).sum()

    def softmax(W: np.ndarray, bias: np.ndarray) -> float:
        return reference.measure_objective(train.X, train.y, W, bias, l1=l1, l2=l2, penalty="elastic_net")

    symmetric = peers.as_two_classes(w, b)
    assert softmax(symmetric.weights, symmetric.bias) == pytest.approx(logistic, rel=1e-7)
    for size in (1e-2, 1.0):
        shift = (size * generator.standard_normal(12)).astype(np.float32)[:, None]
        assert softmax(symmetric.weights + shift, symmetric.bias) > logistic
    # The package's own probe is of that kind, and its optimum that of scikit-learn's logistic regression in float64.
    (probe,) = ours.fit(train.X, [train.y], replace(NET, tolerance=1e-6), classes=binary.split.classes)
    np.testing.assert_allclose(probe.weights[:, 0], -probe.weights[:, 1], atol=1e-6)
    from sklearn.linear_model import LogisticRegression

    penalty = l1 + l2 / 2
    oracle = LogisticRegression(
        solver="saga", C=1 / (len(train.y) * penalty), l1_ratio=l1 / penalty, max_iter=20_000, tol=1e-10, random_state=0
    ).fit(train.X.astype(np.float64), train.y)
    ours_w = probe.weights[:, 1] - probe.weights[:, 0]
    np.testing.assert_allclose(ours_w, oracle.coef_[0], atol=2e-3)
    fitted = peers.as_two_classes(oracle.coef_[0], float(oracle.intercept_[0]))
    assert softmax(fitted.weights, fitted.bias) == pytest.approx(binary.optimum, abs=1e-6)


@pytest.mark.parametrize("kind", ["problem", "binary"])
def test_saga_is_scikit_learns_and_goes_on_to_the_optimum(kind: str, request: pytest.FixtureRequest) -> None:
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression

    problem = request.getfixturevalue(kind)
    train, weights = problem.split.train, problem.penalties
    penalty = weights["l1"] + weights["l2"] / (2 if kind == "binary" else 1)
    estimator = LogisticRegression(
        solver="saga",
        C=1 / (len(train.y) * penalty),
        l1_ratio=weights["l1"] / penalty,
        max_iter=3,
        tol=0.0,
        random_state=0,
    )
    with pytest.warns(ConvergenceWarning):
        estimator.fit(train.X, train.y)
    (three,) = peers.saga_steps(train.X, train.y, epochs=(3,), **weights)
    expected = estimator.coef_.T if kind == "problem" else np.stack([-1, 1]) * estimator.coef_.T / 2
    np.testing.assert_allclose(three.fitted.weights, expected, atol=1e-6)
    early, late = peers.saga_steps(train.X, train.y, epochs=(2, 300), **weights)
    assert [early.budget, late.budget] == ["2 epochs", "300 epochs"]
    above = [problem.measure("saga", step.fitted)["above_reference_share"] for step in (early, late)]
    assert above[1] < 1e-5 < above[0]


@pytest.mark.slow  # compiles by numba
def test_skglm_ends_at_the_optimum(binary: Problem, lasso: Problem) -> None:
    pytest.importorskip("skglm")
    for problem in (binary, lasso):
        train = problem.split.train
        (step,) = peers.skglm_steps(train.X, train.y, tolerances=(1e-7,), **problem.penalties)
        assert abs(problem.measure("skglm", step.fitted)["above_reference_share"]) < 2e-6
        assert step.lap is not None


def test_celer_ends_at_the_optimum(lasso: Problem) -> None:
    pytest.importorskip("celer")
    train = lasso.split.train
    (step,) = peers.celer_steps(train.X, train.y, l1=lasso.penalties["l1"], tolerances=(1e-8,))
    assert abs(lasso.measure("celer", step.fitted)["above_reference_share"]) < 1e-5


STAND_IN = """
import numpy as np

class glm:
    @staticmethod
    def binomial(y, dtype):
        return y.astype(dtype)

class State:
    def __init__(self, weights, bias):
        self.betas, self.intercepts = self, np.array([bias])
        self.weights = weights
    def toarray(self):
        return self.weights[None]

def grpnet(X, glm, *, alpha, lmda_path, tol, irls_tol, early_exit, progress_bar, n_threads):
    assert X.flags.f_contiguous and X.dtype == np.float32
    return State(np.array([alpha, lmda_path[-1], tol]), glm.sum())
"""


def test_adelie_is_asked_in_its_own_terms(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, binary: Problem) -> None:
    (tmp_path / "adelie.py").write_text(STAND_IN)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    train = binary.split.train
    python, settings = Path(sys.executable), {"l1": 0.01, "l2": 0.02, "limit_s": 60.0}
    first, second = peers.adelie_steps(python, train.X, train.y, tolerances=(1e-2, 1e-4), **settings)
    w = first.fitted.weights[:, 1] - first.fitted.weights[:, 0]
    np.testing.assert_allclose(w, [0.5, 0.02, 1e-2], rtol=1e-6)  # alpha, lambda = 0.01 + 0.02/2, tolerance
    assert first.fitted.bias[1] - first.fitted.bias[0] == train.y.sum()
    assert second.budget == "tolerance 0.0001"
    assert second.lap is not None
    assert second.lap.wall_s > 0
    (tmp_path / "adelie.py").write_text("import time; time.sleep(60)")
    slow = partial(peers.adelie_steps, python, train.X, train.y, tolerances=(1e-2,), **settings | {"limit_s": 0.5})
    curve = draw_curve(binary, "adelie", Competitor(slow, limit_s=60.0))
    assert (curve["ended"], _points(curve)) == ("time limit", [])
    (tmp_path / "adelie.py").write_text("raise ImportError('no such thing')")
    with pytest.raises(RuntimeError, match=r"(?s)adelie failed in .*no such thing"):
        list(peers.adelie_steps(python, train.X, train.y, tolerances=(1e-2,), **settings))


# The programs


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_bert(tmp_path_factory.mktemp("bert"), max_position_embeddings=64)


@pytest.mark.slow
def test_probe_program(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("torch")
    out = tmp_path / "probe.json"
    bench_probe.main(["--quick", "--model", str(folder), "--words", "300", "--out", str(out)])
    held = json.loads(out.read_text("utf-8"))
    assert (held["format"], held["benchmark"]) == (harness.FORMAT, "probe")
    assert set(held) == {
        *("format", "benchmark", "day", "machine", "input", "incumbent_device", "load", "ceiling"),
        "part_s",
        *("objectives", "curves", "binary", "ranking"),
    }
    assert held["input"]["classes"] <= len(read_conllu(demo_corpus_file("train")).classes("upos"))
    for entry in held["objectives"].values():
        bracket = entry["reference"]
        assert bracket["lower_bound"] <= bracket["objective"] + 1e-9
        assert {"lca_jax", "lca_jax adam", "incumbent 32", "incumbent 512"} <= set(entry["competitors"])
        assert entry["competitors"]["lca_jax"]["certificate_share"] <= TOLERANCE
    every = {"proximal", "adam with proximal step", "adam as published", "incumbent 32", "incumbent 512"}
    every |= {"scikit-learn saga"}
    assert set(held["curves"]["solvers"]) == every
    for kind in ("elastic_net", "lasso"):
        assert set(held["binary"][kind]["solvers"]) == every | {"skglm", "celer", "adelie"}
    assert "--adelie-python" in held["binary"]["lasso"]["solvers"]["adelie"]["not_run"]
    assert held["binary"]["elastic_net"]["solvers"]["celer"]["not_run"] == "celer has no l2"
    exact = held["curves"]["solvers"]["proximal"]
    assert exact["seconds_to_target"] == exact["points"][-1]["seconds"] > 0
    assert [point["budget"] for point in held["curves"]["solvers"]["incumbent 32"]["points"]] == [
        "1 epochs",
        "2 epochs",
    ]
    assert [(pair["l1"], pair["l2"]) for pair in held["ranking"]["pairs"]] == [(1e-4, 1e-3), (1e-3, 1e-3)]
    for pair in held["ranking"]["pairs"]:
        assert pair["solvers"]["tight"]["common_0.2"] == 1.0
        for row in pair["solvers"].values():
            assert row["selectivity"] == pytest.approx(row["accuracy"] - row["control_accuracy"])
    assert str(folder.parent) not in out.read_text("utf-8")
    assert "neurox, " in capsys.readouterr().out
    _check_figure(out, ["all classes", "against the rest"])


@pytest.mark.slow
def test_grid_program(folder: Path, tmp_path: Path) -> None:
    pytest.importorskip("torch")
    out = tmp_path / "grid.json"
    bench_grid.main(["--quick", "--model", str(folder), "--words", "300", "--out", str(out)])
    held = json.loads(out.read_text("utf-8"))
    assert (held["format"], held["benchmark"]) == (harness.FORMAT, "grid")
    assert {"sizes", "widths", "grid", "scaling", "incumbent_device"} < set(held)
    assert list(held["part_s"]) == ["sizes", "widths", "grid", "scaling"]
    assert len(held["sizes"]) == 4
    assert all(0 < row["busy_share"] < 1 and row["certified"] for row in held["sizes"].values())
    batches = held["widths"]["batches"]
    assert list(batches) == ["1", "2"]
    for width, row in batches.items():
        assert row["problems"] == int(width)
        assert row["problems_per_s"] == pytest.approx(int(width) / row["seconds"])
        assert row["first_problem"]["above_reference_share"] <= TOLERANCE
    assert set(held["widths"]["incumbent"]) == {"incumbent 32", "incumbent 512"}
    grid = held["grid"]
    assert (grid["problems"], grid["converged"], len(grid["problems_by_pair"])) == (8, 8, 8)
    assert grid["s_per_problem"] == pytest.approx(grid["seconds"] / 8)
    assert grid["median_certificate_share"] <= grid["worst_certificate_share"] <= TOLERANCE
    compared = [row for row in grid["problems_by_pair"] if "incumbent_32_above_share" in row]
    assert [(row["l1"], row["l2"], row["control"]) for row in compared] == [(1e-3, 1e-3, False)]
    assert compared[0]["incumbent_32_above_share"] > 0
    words = held["scaling"]["words"]
    assert len(words) == 2
    assert list(words)[-1] == str(held["input"]["words"])
    assert list(held["scaling"]["features"]) == [str(held["input"]["features"] // 2)]
    devices = held["scaling"]["devices"]
    assert devices["1"]["objective"] == pytest.approx(devices["2"]["objective"], rel=1e-4)
    _check_figure(out, ["problems in a batch"])


def _check_figure(result: Path, expected: list[str]) -> None:
    pytest.importorskip("matplotlib")
    from benchmarks.probing import figures

    drawn = figures.draw_file(result).read_text("utf-8")
    assert all(text in drawn for text in expected)
    assert figures.draw_file(result).read_text("utf-8") == drawn
    content = json.loads(result.read_text("utf-8"))
    result.write_text(json.dumps({"benchmark": "forward"}))
    with pytest.raises(ValueError, match="must belong to probe or grid, got `forward`"):
        figures.draw_file(result)
    result.write_text(json.dumps({"benchmark": content["benchmark"]}))
    with pytest.raises(ValueError, match=r"[Rr]un the part"):
        figures.draw_file(result)


def test_accuracy_is_of_the_labels_asked_for(split: Split) -> None:
    always = Solution(np.zeros((12, 3), np.float32), np.array([0, 1, 0], np.float32))
    assert accuracy(split.unseen, always) == (split.unseen.y == 1).mean()
    assert accuracy(split.unseen, always, labels=split.unseen.control) == (split.unseen.control == 1).mean()


@pytest.mark.slow
def test_held_and_streamed_are_timed_in_processes_of_their_own(tmp_path: Path) -> None:
    store = write_planted_store(tmp_path / "store", words=300)
    sizes = ["--words", "300", "--problems", "2"]
    bench_stream.main(["--store", str(store), *sizes, "--by-layer", "--out", str(tmp_path / "stream.json")])
    rows = json.loads((tmp_path / "stream.json").read_text())["rows"]
    names = {"held, 2 problems", "streamed, 2 problems"}
    assert set(rows) == names | {f"{name} by layer" for name in names}
    assert all(row["peak_bytes"] > 1e8 for row in rows.values())
    held, streamed = (rows[f"{kind}, 2 problems"]["s_per_iteration"] for kind in ("held", "streamed"))
    assert rows["streamed, 2 problems"]["times_as_long_as_held"] == streamed / held
    of_layers = rows["streamed, 2 problems by layer"]
    assert of_layers["times_as_long_as_all"] == of_layers["s_per_iteration"] / streamed
    # Every layer has what the labels have at zero weights.
    layers = of_layers["null_objective"] / rows["streamed, 2 problems"]["null_objective"]
    assert layers == pytest.approx(round(layers))
    assert layers > 1
