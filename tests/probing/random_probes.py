"""Probe sets of random weights, for the tests of what probe sets say and how they are saved; nothing is solved."""

import numpy as np

from lca_jax import ElasticNet, ProbeSet
from lca_jax.axes import LayerBlock, NeuronAxis
from lca_jax.probing.probe import Probe


def probe_set(*, seed: int) -> ProbeSet:
    """Two probes of random weights, one of them of a part of the neurons, and one without penalty."""
    random = np.random.default_rng(seed)

    def probe(features: int, **facts) -> Probe:
        return Probe(
            task="upos", control=False, l1=10.0**-seed, l2=1e-3, penalty="elastic_net", solver="proximal",
            classes=("NOUN", "VERB"), weights=random.normal(size=(features, 2)).astype(np.float32),
            bias=np.array([0, -np.inf], np.float32), mean=np.zeros(features, np.float32),
            scale=np.ones(features, np.float32), objective=random.random(), null_objective=1.0,
            duality_gap=float("inf"), iterations=3, converged=True, words=10, **facts,
        )  # fmt: skip

    return ProbeSet(
        probes=(probe(6), probe(2, subset="two", columns=np.array([1, 4]))),
        axis=NeuronAxis(blocks=(LayerBlock("residual", 0, 6),)),
        settings=ElasticNet(),
        unpenalized=(probe(6),),
    )
