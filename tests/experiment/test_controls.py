"""Control tasks after the choice of the penalty, and selectivity over their seeds."""

import numpy as np
import pytest
from scipy import stats

from lca_jax import ElasticNet, control_task_of, fit_probes, measured_words
from lca_jax.analysis.retraining import TrainingWords
from lca_jax.experiment.controls import SEEDS, fit_controls, measure_selectivity, selectivity_of
from tests.stores import planted_store

GRID = ElasticNet(l1=(1e-3, 1e-2), l2=1e-2)


def test_the_control_task_of_the_chosen_penalty_is_that_of_a_search_with_all() -> None:
    train, dev = planted_store(), planted_store(seed=1)
    whole = fit_probes(train, GRID).select(dev, by="one_se")
    later = fit_controls(fit_probes(train, GRID, control=False).select(dev, by="one_se"))
    assert [(probe.task, probe.control) for probe in later] == [("upos", False), ("upos", True)]
    assert later.search == whole.search
    one, other = (probes.one("upos", control=True) for probes in (later, whole))
    assert one.objective == pytest.approx(other.objective, abs=2 * other.duality_gap + 1e-6)


def test_selectivity_is_less_the_mean_over_seeds() -> None:
    train, test = planted_store(), planted_store(seed=2)
    probes = fit_probes(train, ElasticNet(l1=1e-2, l2=1e-2))
    words = measured_words(test, probes.axis, "upos", probes.one("upos").classes)
    found = measure_selectivity(probes, "upos", TrainingWords.of(probes, "upos"), words)
    assert found is not None
    assert len(found.accuracies) == SEEDS
    for seed in (0, 3):
        control = control_task_of(train, "upos", seed=seed)
        assert control is not None
        labels = control.label_like(test.forms(), test.labels("upos"))
        alone = fit_probes(train, ElasticNet(l1=1e-2, l2=1e-2, seed=seed)).one("upos", control=True)
        predicted = np.array(alone.classes)[alone.predict(test.matrix())]
        assert found.accuracies[seed] == pytest.approx(np.mean(predicted == np.array(labels)), abs=2e-3)
    right = probes.one("upos").predict(words.X) == words.gold
    assert found.value == pytest.approx(right.mean() - np.mean(found.accuracies))
    assert found.interval[0] < found.value < found.interval[1]


def test_the_interval_has_the_variance_of_sentences_and_of_seeds() -> None:
    generator = np.random.default_rng(0)
    sentences = np.arange(400)
    right, same = generator.random(400) < 0.9, np.tile(generator.random(400) < 0.5, (5, 1))
    # Seeds that agree add nothing: Student's interval of the mean of the differences.
    lead = right - same[0].astype(float)
    plain = stats.t.interval(0.95, 399, loc=lead.mean(), scale=lead.std(ddof=1) / 20)
    assert selectivity_of(right, same, sentences).interval == pytest.approx(plain, rel=1e-9)
    # Without noise of words, that of the seeds: Student's interval of their mean.
    shares = np.array([0.5, 0.4, 0.6, 0.55, 0.45])
    rows = np.stack([np.tile(np.arange(20) < 20 * share, 200) for share in shares])
    alike = selectivity_of(np.ones(4000, bool), rows, np.repeat(np.arange(200), 20))
    plain = stats.t.interval(0.95, 4, loc=0.5, scale=shares.std(ddof=1) / np.sqrt(5))
    assert alike.interval == pytest.approx(plain, rel=1e-9)
    assert alike.value == pytest.approx(0.5)
