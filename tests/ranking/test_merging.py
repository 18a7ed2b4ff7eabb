"""What is merged into the order over all classes: rare classes, ties by gain, binary probes; against plain loops."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import lca_jax as lca
from lca_jax import ElasticNet, ProbeSet
from lca_jax.errors import SettingsError
from lca_jax.probing.weight_mass import gain_of_weights, mass_order
from tests.stores import store_of

SETTINGS = ElasticNet(l1=1e-2, l2=1e-2)
WORDS = {"common": 150, "frequent": 80, "rare": 4}


def rare_store() -> lca.ActivationStore:
    """Neuron 2 is for the rare class, 0 and 1 for the others; 3 to 7 are noise."""
    rng = np.random.default_rng(0)
    labels = rng.permutation([name for name, count in WORDS.items() for _ in range(count)])
    X = rng.normal(size=(len(labels), 1, 8)).astype(np.float32)
    for column, name in enumerate(WORDS):
        X[:, 0, column] += 3 * (labels == name)
    forms = [f"{name}{number % 9}" for number, name in enumerate(labels)]
    return store_of(X, [forms[at : at + 3] for at in range(0, len(forms), 3)],
                    {"tag": [labels[at : at + 3].tolist() for at in range(0, len(forms), 3)]})  # fmt: skip


STORE = rare_store()


@pytest.fixture(scope="module")
def probes() -> ProbeSet:
    return lca.fit_probes(STORE, SETTINGS, replicates=2)


def test_a_probe_knows_the_words_of_its_classes(probes: ProbeSet) -> None:
    assert probes.one("tag").classes == ("common", "frequent", "rare")
    assert probes.one("tag").class_words == (150, 80, 4)
    sample = probes.one("tag", replicate=1)
    assert sample.class_words is not None
    assert sum(sample.class_words) == sample.words


def test_the_rarest_class_leads_by_share_and_not_by_gain(probes: ProbeSet) -> None:
    """Antverg and Belinkov: every class has the same quota at each step; the first block is one neuron of each."""
    weights = np.zeros((8, 3), np.float32)
    for column, own in enumerate([{0: 2.0, 3: 1.0}, {1: 1.5, 4: 1.0}, {2: 1.0}]):
        weights[list(own), column] = list(own.values())
    given = replace(probes, probes=(replace(probes.one("tag"), weights=weights),))
    by_share, by_gain = (lca.rank(given, "tag", ties=ties) for ties in ("share", "gain"))
    assert by_share.top(3).tolist() == [2, 0, 1]
    assert by_gain.top(3).tolist() == [0, 1, 2]
    np.testing.assert_array_equal(by_gain.ties, by_share.ties)
    np.testing.assert_array_equal(by_gain.scores, by_share.scores)


def test_gain_is_the_second_term_of_the_loss() -> None:
    rng = np.random.default_rng(0)
    weights, shares = rng.normal(size=(5, 4)), rng.dirichlet(np.ones(4))
    rises = np.log(shares).astype(np.float32)

    def loss(scale: jax.Array, direction: jax.Array) -> jax.Array:
        """Mean cross-entropy of labels that do not depend on a feature of values -1 and 1, its weights scaled."""
        scores = jnp.stack([rises + sign * scale * direction for sign in (-1.0, 1.0)])
        return -(jax.nn.log_softmax(scores, axis=1) @ jnp.asarray(shares, jnp.float32)).mean()

    curved = [jax.grad(jax.grad(loss))(jnp.float32(0), jnp.asarray(one, jnp.float32)) / 2 for one in weights]
    np.testing.assert_allclose(gain_of_weights(weights, shares), curved, rtol=1e-4)
    assert gain_of_weights(np.ones((1, 4)), shares)[0] == pytest.approx(0, abs=1e-12)  # all classes alike


def test_rare_classes_are_left_out_of_the_order_and_told(probes: ProbeSet, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level("INFO", logger="lca_jax"):
        ranking = lca.rank(probes, "tag", minimum_words=5)
    assert ranking.left_out == ("rare",)
    assert "tag: fewer than 5 words, not merged: rare" in caplog.text
    assert "too few words: rare" in repr(ranking)
    assert set(ranking.by_class) == set(WORDS)
    weights = probes.one("tag").weights
    assert ranking.columns.tolist() == mass_order(weights[:, :2]).order.tolist()
    whole = lca.rank(probes, "tag")
    assert whole.left_out == ()
    assert whole.columns.tolist() == mass_order(weights).order.tolist()
    for by in ("level", "frequency", "weight"):
        merged = lca.rank(probes, "tag", over="replicates", by=by, minimum_words=5)
        assert merged.left_out == ("rare",)
        if by != "frequency":  # of which the first tenth is one neuron here
            assert merged.scores.tolist() != lca.rank(probes, "tag", over="replicates", by=by).scores.tolist()


def test_one_vs_rest_merges_the_weights_of_binary_probes() -> None:
    binary = lca.fit_probes(STORE, SETTINGS, one_vs_rest=True)
    ranking = lca.rank(binary, method="one_vs_rest")
    weights = np.stack([binary.one("tag", target=name).weights[:, 1] for name in WORDS], axis=1)
    magnitude = np.abs(weights) / np.abs(weights).sum(axis=0)
    for number, name in enumerate(WORDS):
        own = ranking.by_class[name]
        np.testing.assert_allclose(own.scores, np.sort(magnitude[:, number])[::-1], rtol=1e-4, atol=1e-7)
    assert set(ranking.top(3).tolist()) == {0, 1, 2}
    assert (ranking.scores[:3] == 1).all()
    left = lca.rank(binary, method="one_vs_rest", minimum_words=100)
    assert left.left_out == ("frequent", "rare")
    assert left.columns[0] == 0
    with pytest.raises(SettingsError, match=r"no probes of `tag` that tell one class from the rest. Fit them with"):
        lca.rank(lca.fit_probes(STORE, SETTINGS), method="one_vs_rest")


def test_what_cannot_be_merged_is_said(probes: ProbeSet) -> None:
    with pytest.raises(SettingsError, match="No class of `tag` has 1000 training words; the largest has 150"):
        lca.rank(probes, "tag", minimum_words=1000)
    with pytest.raises(SettingsError, match="`minimum_words` must be 0 or more"):
        lca.rank(probes, "tag", minimum_words=-1)
    old = replace(probes, probes=tuple(replace(probe, class_words=None) for probe in probes))
    assert lca.rank(old, "tag").columns.tolist() == lca.rank(probes, "tag").columns.tolist()
    with pytest.raises(SettingsError, match="saved without the number of words of each class"):
        lca.rank(old, "tag", ties="gain")
