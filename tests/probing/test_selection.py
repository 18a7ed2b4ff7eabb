"""The rule of one standard error for the choice of a penalty, and choices on the edge of a grid."""

import logging
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from lca_jax import ElasticNet, fit_probes
from lca_jax.probing.metrics import mean_error
from lca_jax.probing.selection import PenaltyScore, edges_of_search, stable_half
from lca_jax.probing.weight_mass import mass_order
from lca_jax.store.store import ActivationStore
from tests.stores import planted_store, store_of

GRID = ElasticNet(l1=(1e-3, 1e-2, 1e-1), l2=(1e-3, 1e-1))


def test_the_standard_error_over_sentences() -> None:
    rng = np.random.default_rng(0)
    right = rng.random(600) < 0.8
    # With one word a sentence it is that of a mean.
    assert mean_error(right, np.arange(600)) == pytest.approx(right.std(ddof=1) / np.sqrt(600))
    # Copies of every word in one sentence teach nothing new.
    assert mean_error(np.repeat(right, 5), np.repeat(np.arange(600), 5)) == pytest.approx(
        mean_error(right, np.arange(600))
    )
    # Near the spread of the means of samples of the sentences of unequal length.
    sentences = np.sort(rng.integers(0, 120, 600))
    rows = [np.flatnonzero(sentences == number) for number in np.unique(sentences)]
    means = [
        right[np.concatenate([rows[k] for k in rng.integers(0, len(rows), len(rows))])].mean() for _ in range(3000)
    ]
    assert mean_error(right, sentences) == pytest.approx(np.std(means), rel=0.1)


def test_one_standard_error_takes_the_strongest_that_is_near_the_best() -> None:
    fitted = fit_probes(planted_store(words=400), GRID, replicates=4, kind="halves")
    dev = planted_store(words=300, seed=1)
    chosen = fitted.select(dev, by="one_se")
    scores = chosen.search
    gold = np.array(["ADJ", "NOUN", "VERB"]).searchsorted(np.array(dev.labels("upos")))
    for score in scores:
        probe = next(one for one in fitted.of("upos") if (one.l1, one.l2) == (score.l1, score.l2))
        right = probe.predict(dev.matrix()) == gold
        assert score.accuracy == pytest.approx(right.mean())
        assert score.error == pytest.approx(mean_error(right, dev.words["sentence"].to_numpy()))
    best = max(scores, key=lambda one: one.accuracy)
    assert best.error is not None
    near = {(one.l1, one.l2) for one in scores if one.accuracy >= best.accuracy - best.error}
    (picked,) = [(one.l1, one.l2) for one in scores if one.chosen]
    assert picked in near
    assert not [pair for pair in near if pair != picked and pair[0] >= picked[0] and pair[1] >= picked[1]]
    last = [pair for pair in near if not any(o != pair and o[0] >= pair[0] and o[1] >= pair[1] for o in near)]
    samples = [probe for probe in fitted if not probe.control]
    assert stable_half(samples, *picked) == max(stable_half(samples, *pair) for pair in last)
    one, other, *_ = (mass_order(fitted.of("upos", replicate=number)[0].weights).order[:1] for number in (1, 2))
    pair = fitted.of("upos")[0]
    assert stable_half(samples[:0], pair.l1, pair.l2) == 0
    two = [probe for probe in samples if probe.replicate in (1, 2)]
    assert stable_half(two, pair.l1, pair.l2) == float(one[0] == other[0])
    assert {(probe.l1, probe.l2) for probe in chosen} == {picked}


def test_a_choice_on_the_edge_is_told(caplog: pytest.LogCaptureFixture) -> None:
    def search(chosen: tuple[float, float], l1: tuple[float, ...], l2: tuple[float, ...]) -> list[PenaltyScore]:
        numbers: Any = {"score": 0.0, "accuracy": 0.5, "top": 0.5, "bottom": 0.1}
        return [PenaltyScore(task="t", l1=a, l2=b, chosen=(a, b) == chosen, **numbers) for a in l1 for b in l2]

    three = (1e-3, 1e-2, 1e-1)
    assert edges_of_search(search((1e-2, 1e-2), three, three)) == []
    assert edges_of_search(search((1e-2, 1e-1), three, three)) == ["l2 = 0.1 is the largest of 3 that were tried"]
    assert len(edges_of_search(search((1e-3, 1e-1), three, three))) == 2
    assert edges_of_search(search((0.5, 0.0), (0.5,), (0.0, 1.0))) == edges_of_search([]) == []
    with caplog.at_level(logging.INFO, logger="lca_jax"):
        chosen = fit_probes(planted_store(), GRID).select(planted_store(seed=1), by="one_se")
    for edge in edges_of_search(chosen.search):
        assert f"upos: the chosen {edge}" in caplog.text


def test_the_standard_error_of_a_regression_is_that_of_its_squared_errors() -> None:
    store = planted_store()
    numbers = replace(store, words=store.words.append_column("label:n", [store.words["position"].cast("string")]))
    probes = fit_probes(numbers, GRID, tasks=["n"], regression=["n"])
    chosen = probes.select(numbers, by="one_se")
    gold = numbers.words["position"].to_numpy().astype(np.float64)
    sentences = numbers.words["sentence"].to_numpy()
    for score in chosen.search:
        (probe,) = (one for one in probes.of("n") if (one.l1, one.l2) == (score.l1, score.l2))
        errors = (probe.predict_numbers(numbers.matrix()) - gold) ** 2 / gold.var()
        assert score.accuracy == pytest.approx(1 - errors.mean(), abs=1e-5)
        sums = np.array([(errors - errors.mean())[sentences == one].sum() for one in np.unique(sentences)])
        assert score.error == pytest.approx(
            np.sqrt(len(sums) / (len(sums) - 1) * (sums**2).sum()) / len(errors), rel=1e-4
        )
    assert sum(score.chosen for score in chosen.search) == 1


def test_all_tasks_are_chosen_from_one_reading(monkeypatch: pytest.MonkeyPatch) -> None:
    train, dev = (_of_two_tasks(planted_store(words=240, seed=seed)) for seed in (0, 1))
    fitted = fit_probes(train, GRID, control=False)
    assert fitted.tasks == ("upos", "rare")
    alone = {task: fit_probes(train, GRID, tasks=[task], control=False).select(dev) for task in fitted.tasks}
    read: list[int] = []
    whole = ActivationStore.matrix

    def matrix(store: ActivationStore, rows: Any = None, **choice: Any) -> np.ndarray:
        read.append(store.word_count if rows is None else len(rows))
        return whole(store, rows, **choice)

    monkeypatch.setattr(ActivationStore, "matrix", matrix)
    chosen = fitted.select(dev)
    assert read == [240]
    for task in fitted.tasks:
        assert [score for score in chosen.search if score.task == task] == list(alone[task].search)
    # What one task alone labels is all that is read for it.
    read.clear()
    replace(fitted, probes=fitted.of("rare")).select(dev)
    assert read == [80]


def _of_two_tasks(store: ActivationStore) -> ActivationStore:
    """The same words, of which every third has a label of a second task."""
    labels = store.labels("upos")
    rare = [label if place % 3 == 0 else None for place, label in enumerate(labels)]
    rows = {"upos": [labels[at : at + 4] for at in range(0, len(labels), 4)]}
    rows["rare"] = [rare[at : at + 4] for at in range(0, len(rare), 4)]
    forms = store.forms()
    sentences = [forms[at : at + 4] for at in range(0, len(forms), 4)]
    return store_of(np.asarray(store.read("residual")[:]), sentences, rows)
