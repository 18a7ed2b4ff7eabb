"""Probes on the words of other corpora, against scoring by hand; and the depths of neurons."""

from collections import Counter

import numpy as np
import pytest

from lca_jax import ElasticNet, depth_profile, fit_probes, measure_transfer
from lca_jax.analysis.depth import relative_depths
from lca_jax.axes import LayerBlock, NeuronAxis
from lca_jax.errors import SettingsError
from lca_jax.probing.baselines import word_type_majority
from lca_jax.probing.probe import Probe
from lca_jax.ranking.ranking import rank_by_scores
from lca_jax.store.store import ActivationStore
from tests.stores import store_of

CLASSES = {"en": ("NOUN", "VERB", "DET"), "fi": ("VERB", "NOUN", "ADP")}
"""Finnish has no articles; the order of classes is another one."""
WORDS = 240


def corpus(name: str, seed: int, *, shift: float = 0.0) -> ActivationStore:
    """Every class has a neuron of its own, the same in both languages; ADP speaks by that of DET."""
    rng = np.random.default_rng(seed)
    labels = rng.choice(CLASSES[name], WORDS).tolist()
    vectors = rng.normal(size=(WORDS, 1, 8))
    for place, label in enumerate(labels):
        vectors[place, 0, {"NOUN": 0, "VERB": 1, "DET": 2, "ADP": 2}[label]] += 4
    vectors[:, :, 0] += shift
    # Some forms are those of both languages, and tell the class; the others are of one.
    forms = [f"{label}!" if rng.random() < 0.3 else f"{name}{place % 9}" for place, label in enumerate(labels)]
    sentences = [forms[n : n + 4] for n in range(0, WORDS, 4)]
    return store_of(vectors.astype(np.float32), sentences, {"upos": [labels[n : n + 4] for n in range(0, WORDS, 4)]})


def probe_of(store: ActivationStore) -> Probe:
    return fit_probes(store, ElasticNet(l1=1e-3, l2=1e-2), tasks=["upos"], control=False).one("upos")


@pytest.fixture(scope="module")
def trains() -> dict[str, ActivationStore]:
    return {"en": corpus("en", 0), "fi": corpus("fi", 1, shift=5.0)}


@pytest.fixture(scope="module")
def probes(trains: dict[str, ActivationStore]) -> dict[str, Probe]:
    return {name: probe_of(store) for name, store in trains.items()}


def test_every_figure_is_that_of_scoring_by_hand(probes: dict[str, Probe], trains: dict[str, ActivationStore]) -> None:
    tests = {"en": corpus("en", 2), "fi": corpus("fi", 3, shift=5.0)}
    found = {(one.source, one.target): one for one in measure_transfer(probes, trains, tests)}
    assert set(found) == {("en", "en"), ("fi", "en"), ("en", "fi"), ("fi", "fi")}
    for (source, target), one in found.items():
        probe, own = probes[source], probes[target]
        X, gold = tests[target].matrix(), tests[target].labels("upos")
        scores = np.dot(X, probe.raw_weights) + probe.raw_bias
        right = [probe.classes[number] == label for number, label in zip(scores.argmax(1), gold, strict=True)]
        assert one.accuracy == pytest.approx(np.mean(right))
        moved = np.dot((X - own.mean) / own.scale, probe.weights) + probe.bias
        own_scale = [probe.classes[number] == label for number, label in zip(moved.argmax(1), gold, strict=True)]
        assert one.own_scale == pytest.approx(np.mean(own_scale))
        assert one.words == WORDS
        assert one.unknown == sum(label not in probe.classes for label in gold)
        for rival, name in (("source_class", source), ("target_class", target)):
            most = Counter(trains[name].labels("upos")).most_common(1)[0][0]
            assert one.rivals[rival] == pytest.approx(np.mean([label == most for label in gold]))
        forms = tests[target].forms()
        majority = word_type_majority(trains[source].forms(), trains[source].labels("upos"), forms, gold)
        assert one.rivals["source_types"] == pytest.approx(majority)
        assert one.lead == pytest.approx(one.accuracy - max(one.rivals.values()))
        new = [form not in trains[source].forms() for form in forms]
        assert one.new_forms == sum(new)
        assert one.new_forms_accuracy == pytest.approx(np.mean(np.array(right)[new])) if any(new) else True
        assert one.lost == pytest.approx(found[target, target].accuracy - one.accuracy)
        assert one.interval[0] <= one.accuracy <= one.interval[1]
    across = found["en", "fi"]
    assert across.unknown > 0
    # English reads Finnish nouns and verbs once both are on one scale; the postpositions are lost.
    assert across.own_scale == pytest.approx(1 - across.unknown / WORDS, abs=0.08)
    assert across.own_scale > across.accuracy + 0.1
    assert across.lost_interval[0] > 0
    assert found["en", "en"].lost == 0


def test_what_does_not_fit_is_refused(probes: dict[str, Probe], trains: dict[str, ActivationStore]) -> None:
    with pytest.raises(SettingsError, match="Give the same"):
        measure_transfer(probes, trains, {"en": corpus("en", 2)})
    wide = store_of(np.zeros((4, 1, 9), np.float32), [["w"] * 4], {"upos": [["NOUN", "VERB", "DET", "NOUN"]]})
    with pytest.raises(SettingsError, match="must have the same neurons"):
        measure_transfer({"en": probes["en"]}, {"en": trains["en"]}, {"en": wide})


def test_depths_are_relative_and_their_interval_covers() -> None:
    axis = NeuronAxis(blocks=tuple(LayerBlock("residual", layer, 50) for layer in (0, 4, 8, 12)))
    assert relative_depths(axis).tolist() == pytest.approx([0, 1 / 3, 2 / 3, 1])
    both = NeuronAxis(blocks=(LayerBlock("residual", 2, 5), LayerBlock("mlp", 0, 5), LayerBlock("mlp", 1, 5)))
    assert relative_depths(both).tolist() == [0, 0, 1]
    rng, truth, covered = np.random.default_rng(0), np.repeat([3.0, 2, 1, 0], 50), 0
    middle = []
    for _ in range(200):
        whole = truth + rng.normal(size=200)
        halves = []
        for _ in range(5):
            apart = rng.normal(size=200)
            halves += [rank_by_scores("t", axis, whole + apart), rank_by_scores("t", axis, whole - apart)]
        found = depth_profile(rank_by_scores("t", axis, whole), halves, share=0.2)
        middle.append(found)
    true = np.mean([found.mean_depth.value for found in middle])
    covered = np.mean([found.mean_depth.low <= true <= found.mean_depth.high for found in middle])
    assert covered > 0.85
    one = middle[0]
    assert one.neurons == 40
    assert sum(layer.share for layer in one.layers) == pytest.approx(1)
    assert [layer.expected for layer in one.layers] == [0.25] * 4
    assert one.expected == pytest.approx(0.5)
    assert one.mean_depth.value == pytest.approx(sum(layer.share * layer.depth for layer in one.layers))
    with pytest.raises(SettingsError, match="give two rankings of halves or more"):
        depth_profile(rank_by_scores("t", axis, truth), [])
