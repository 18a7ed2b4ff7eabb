"""A probe does not depend on the other tasks of the call, whichever words these label."""

import numpy as np
import pytest

from lca_jax import ElasticNet, fit_probes, rank_neurons
from lca_jax.analysis.retraining import TrainingWords, train_nested_sets
from lca_jax.errors import SettingsError
from lca_jax.probing.probe import predict_masked
from lca_jax.store.store import ActivationStore
from tests.stores import planted_store, store_of

SETTINGS = ElasticNet(l1=(1e-3, 1e-2), l2=1e-3)


def two_tasks(*, swapped: bool = False) -> ActivationStore:
    """All words have an `upos`; a third of them has a `number`, and lies elsewhere in space."""
    planted = planted_store()
    vectors = planted.read("residual")[:].copy()
    rng = np.random.default_rng(5)
    some = rng.random(len(vectors)) < 0.33
    vectors[some] = vectors[some] * 3 + 2
    upos = planted.labels("upos")
    number = [str(rng.choice(["Sing", "Plur"])) if chosen else None for chosen in some]
    labels = {"upos": upos, "number": number}
    names = ("number", "upos") if swapped else ("upos", "number")

    def by_sentence(values: list) -> list[list]:
        return [values[start : start + 4] for start in range(0, len(values), 4)]

    return store_of(vectors, by_sentence(planted.forms()), {name: by_sentence(labels[name]) for name in names})


@pytest.mark.slow
@pytest.mark.parametrize("task", ["upos", "number"])
@pytest.mark.parametrize("options", [{}, {"replicates": 1}, {"subsets": "layers"}, {"stream": True}])
def test_adding_a_task_changes_no_other(task: str, options: dict) -> None:
    store = two_tasks()
    alone = fit_probes(store, SETTINGS, tasks=[task], **options)
    for beside in (fit_probes(store, SETTINGS, **options), fit_probes(two_tasks(swapped=True), SETTINGS, **options)):
        same = [probe for probe in beside if probe.task == task]
        assert len(same) == len(alone)
        for one, other in zip(alone, same, strict=True):
            assert (one.control, one.replicate, one.subset, one.l1) == (
                other.control, other.replicate, other.subset, other.l1,
            )  # fmt: skip
            assert one.objective == pytest.approx(other.objective, abs=1e-6)
            np.testing.assert_array_equal(one.scale, other.scale)
            np.testing.assert_allclose(one.weights, other.weights, atol=2e-3 * np.abs(one.weights).max() + 1e-7)
        for one, other in zip(
            alone.unpenalized, [probe for probe in beside.unpenalized if probe.task == task], strict=True
        ):
            np.testing.assert_allclose(one.weights, other.weights, atol=1e-5)


def tasks_of_two_classes() -> ActivationStore:
    """Two tasks of two classes each, of the same words but for some that lie far away and have no `number`."""
    rng = np.random.default_rng(3)
    X = rng.normal(size=(160, 1, 6)).astype(np.float32)
    far = np.arange(160) >= 120
    X[far, :, 1:] = 20 * X[far, :, 1:] + 300
    tense = ["Past" if value > 0 else "Pres" for value in X[:, 0, 0]]
    number = [None if away else "Plur" if value > 0.5 else "Sing" for value, away in zip(X[:, 0, 1], far, strict=True)]
    forms = [f"w{place % 40}" for place in range(160)]
    return store_of(X, [forms], {"tense": [tense], "number": [number]})


@pytest.mark.parametrize("subsets", [None, {"three": [0, 1, 4]}])
def test_a_set_predicts_as_each_of_its_probes_does(
    subsets: dict[str, list[int]] | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each by its own mean and scale; those that share them are one product."""
    store = tasks_of_two_classes()
    probes = fit_probes(store, ElasticNet(l1=1e-3, l2=1e-2), subsets=subsets)
    together: list[int] = []

    def counted(group: list, *arrays: np.ndarray, **options: np.ndarray) -> np.ndarray:
        together.append(len(group))
        return predict_masked(group, *arrays, **options)

    X = store.matrix()
    expected = [probe.predict(X) for probe in probes]
    monkeypatch.setattr("lca_jax.probing.probe_set.predict_masked", counted)
    predicted = probes.predict(X)
    for row, alone in zip(predicted, expected, strict=True):
        np.testing.assert_array_equal(row, alone)
    for task in ("tense", "number"):
        real = next(place for place, probe in enumerate(probes) if (probe.task, probe.control) == (task, False))
        said = [probes.probes[real].classes[number] for number in predicted[real]]
        right = [one == label for one, label in zip(said, store.labels(task), strict=True) if label is not None]
        assert np.mean(right) > 0.9
    assert together == [2, 2]


def test_probes_of_other_scales_do_not_predict_together() -> None:
    store = tasks_of_two_classes()
    probes = fit_probes(store, ElasticNet(l1=1e-2, l2=1e-2), control=False)
    with pytest.raises(SettingsError, match="same mean and scale"):
        predict_masked(list(probes), store.matrix(), keep=np.ones((2, 1, 6), bool))


def test_what_is_trained_again_has_the_objective_of_the_probe() -> None:
    """All neurons, trained again, come back to the probe; masked words do not move the scale."""
    probes = fit_probes(two_tasks(), ElasticNet(l1=1e-2, l2=1e-2, tolerance=1e-5))
    training = TrainingWords.of(probes, "number")
    order = rank_neurons(probes, "number").columns
    (again,) = train_nested_sets(training, order, [len(order)], labellings=[training.real])
    probe = probes.one("number")
    assert again.objective == pytest.approx(probe.objective, abs=2e-5)
    np.testing.assert_array_equal(again.scale, probe.scale[order])
    np.testing.assert_allclose(again.weights, probe.weights[order], atol=5e-3)
