"""Tags as concepts, each told from as many other words: how far methods agree on their neurons (Fan et al. 2023)."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from jaxtyping import Float

from benchmarks.relocated import interval_over_seeds
from lca_jax.analysis.consensus import method_overlap
from lca_jax.analysis.crossing import RANDOM
from lca_jax.probing.fit import fit_elastic_net
from lca_jax.probing.measuring import measured_words
from lca_jax.ranking.methods import rank
from lca_jax.ranking.ranking import Ranking
from lca_jax.store.store import ActivationStore

CONCEPTS = "xpos"
"""The tags."""
_PENALTY = {"lca": (1e-2, 1e-2), "lasso": (1e-2, 0.0), "ridge": (0.0, 1e-2)}
"""l1 and l2 of the binary probes, as Fan et al. print them."""
_TOPS = (10, 30, 50)
"""Numbers of first neurons that are compared, those that a layer has."""


def concepts(store: ActivationStore, count: int) -> list[dict[str, Any]]:
    """Returns, for every concept of a layer, the overlap of each method with the others.

    Args:
        store: The layer.
        count: Number of words that are drawn of a concept, and of all others.
    """
    words = measured_words(store, store.axis(), CONCEPTS, sorted({*store.labels(CONCEPTS)} - {None}))
    found = []
    for number, concept in enumerate(words.classes):
        inside, outside = np.flatnonzero(words.gold == number), np.flatnonzero(words.gold != number)
        if len(inside) < count:
            continue
        generator = np.random.default_rng((0, number))
        chosen = [np.sort(generator.choice(of, count, replace=False)) for of in (inside, outside)]
        X = words.X[np.concatenate(chosen)]
        rankings = rankings_of_concept(X, np.repeat([concept, f"not {concept}"], count))
        tops = [method_overlap(rankings, neurons=top) for top in _TOPS if top <= X.shape[1]]
        average = np.mean([one.average for one in tops], axis=0)
        votes = np.mean([one.votes for one in tops], axis=0)
        figures = {name: [float(average[at]), float(votes[at])] for at, name in enumerate(rankings)}
        found.append({"concept": concept, "words": 2 * count, "methods": figures})
    return found


def rankings_of_concept(X: Float[np.ndarray, "word neuron"], labels: Any) -> dict[str, Ranking]:
    """Ranks the neurons for one concept by the methods of Fan et al.; the first of the labels is the concept."""
    rankings = {
        name: rank(fit_elastic_net(X, labels, l1=l1, l2=l2), method="mean_weight")
        for name, (l1, l2) in _PENALTY.items()
    }
    given = (X, labels.tolist())
    rankings["probeless"] = rank(given, method="probeless")
    rankings["iou"] = rank(given, method="iou", direction="high").by_class[labels[0]]
    rankings["gaussian"] = rank(given, method="gaussian", count=_TOPS[-1])
    drawn, places = rankings["lca"].random(X.shape[1], seed=0), np.arange(X.shape[1])
    rankings[RANDOM] = replace(rankings["lca"], columns=drawn, scores=-places.astype(float), ties=places, by_class={})
    return rankings


def overlapped(found: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Returns the mean overlap and vote of every method over concepts and layers, and the leads of one over another."""
    names, methods = [one["concept"] for one in found], list(found[0]["methods"])
    leads = {
        f"{one} over {other}": over_properties(
            names, [each["methods"][one][0] - each["methods"][other][0] for each in found]
        )
        for one in methods
        for other in methods
        if one != other
    }
    average, votes = (
        {name: float(np.mean([one["methods"][name][at] for one in found])) for name in methods} for at in (0, 1)
    )
    return {"average": average, "votes": votes, "leads": leads, "concepts": list(found)}


def over_properties(names: Sequence[str], values: Sequence[float]) -> dict[str, Any]:
    """Returns the mean over properties, each with the mean of its layers, and its interval."""
    means = [
        np.mean([value for of, value in zip(names, values, strict=True) if of == name]) for name in dict.fromkeys(names)
    ]
    return {**interval_over_seeds(means), "properties": len(means)}
