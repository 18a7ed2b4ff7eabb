"""What several models of one corpus have in common, in one folder: rankings of their neurons, and how alike layers are.

    likeness.json                 words, models, figures of every ranking beside its chance, layers by three measures
    rankings/NUMBER.METHOD.csv    the neurons of a model, best first, with their partners in the other models

`NUMBER` is that of the model, from 1, in the order given; the names are in `likeness.json`. One store alone has no
rankings: its layers are compared with each other.
"""

from collections.abc import Sequence
from itertools import combinations
from pathlib import Path
from typing import Any, get_args

import numpy as np
from jaxtyping import Float

from lca_jax.analysis.similarity import LayerSimilarity, Measure, layer_similarity
from lca_jax.axes import Layers
from lca_jax.experiment.folder import write_json
from lca_jax.gathering.correlate import DRAWN, correlate_models
from lca_jax.gathering.cross_moments import CrossMoments, layer_slices
from lca_jax.machine.files import real_path
from lca_jax.ranking.cross_model import CrossModelRanking
from lca_jax.ranking.linear_regression import RegressionRanking
from lca_jax.ranking.methods import CROSS_METHODS, rank
from lca_jax.ranking.ranking import Ranking
from lca_jax.ranking.universal import universal_neurons
from lca_jax.store.store import ActivationStore

RESULTS = "likeness.json"
FORMAT = 1
"""Number of the layout of the file."""


def measure_likeness(
    stores: Sequence[ActivationStore],
    out: Path,
    *,
    layers: Sequence[Layers] | None = None,
    held_out: float = 0.2,
    drawn: int = DRAWN,
    seed: int = 0,
) -> dict[str, Any]:
    """Compares models of one corpus, and writes what is found.

    Args:
        stores: Their stores.
        out: Folder of the results; older ones are replaced.
        layers: For each model its layers; None for all layers of all.
        held_out: Share of the sentences that choose, and of those that measure regressions.
        drawn: Number of neurons of each model whose words are shuffled for the null.
        seed: Seed of everything that is drawn.

    Returns:
        The content of `likeness.json`.

    Raises:
        LcaError: As `correlate_models`.
    """
    out = real_path(out)
    moments = correlate_models(stores, layers=layers, held_out=held_out, drawn=drawn, seed=seed)
    models = range(len(stores)) if len(stores) > 1 else ()
    out.mkdir(parents=True, exist_ok=True)
    results = {
        "format": FORMAT,
        "words": moments.words,
        "words_of_any": moments.words_of_any,
        "parts": [part.words for part in moments.parts],
        "seed": seed,
        "models": [
            {"name": name, "neurons": axis.size, "layers": axis.layer_names, "left_out": left_out}
            for name, axis, left_out in zip(moments.names, moments.axes, moments.left_out, strict=True)
        ],
        "rankings": {
            method: [_ranked(moments, method, of, out) for of in models] for method in CROSS_METHODS if models
        },
        "universal": [_universal(moments, of, seed) for of in models],
        "layers": [
            _layers(moments, pair) for pair in ([(0, 0)] if not models else combinations(range(len(stores)), 2))
        ],
    }
    write_json(out / RESULTS, results)
    return results


def _ranked(moments: CrossMoments, method: str, of: int, out: Path) -> dict[str, Any]:
    """Writes one ranking; returns its figures."""
    ranking = rank(moments, method=method, of=of)
    folder = out / "rankings"
    folder.mkdir(exist_ok=True)
    file = folder / f"{of + 1}.{method}.csv"
    ranking.write_csv(file)
    scores = np.empty(len(ranking.columns))
    scores[ranking.columns] = ranking.scores
    figures = {
        "model": moments.names[of],
        "file": f"{folder.name}/{file.name}",
        "median": float(np.median(scores)),
        "largest": float(scores.max()),
        "median_by_layer": _medians(ranking, scores),
    }
    if isinstance(ranking, CrossModelRanking):
        figures |= {"chance": ranking.chance, "above_chance": ranking.above_chance}
    if isinstance(ranking, RegressionRanking):
        figures["median_in_sample"] = {each.name: float(np.median(each.in_sample)) for each in ranking.regressions}
        figures["median_held_out"] = {each.name: float(np.median(each.r2)) for each in ranking.regressions}
    return figures


def _universal(moments: CrossMoments, of: int, seed: int) -> dict[str, Any]:
    found = universal_neurons(moments, of=of, seed=seed)
    return {
        "model": found.name,
        "least_excess": found.least,
        "universal": int(found.universal.sum()),
        "median_correlation": float(np.median(found.correlation)),
        "median_with_turned_layers": float(np.median(found.turned)),
        "mutual": float(found.mutual.mean()),
        "by_layer": found.table(),
    }


def _layers(moments: CrossMoments, pair: tuple[int, int]) -> dict[str, Any]:
    one, other = pair
    return {
        "models": [moments.names[one], moments.names[other]],
        **{measure: _table(layer_similarity(moments, measure, one=one, other=other)) for measure in get_args(Measure)},
    }


def _table(found: LayerSimilarity) -> dict[str, Any]:
    return {"values": found.values.tolist(), "chance": found.chance.tolist()}


def _medians(ranking: Ranking, scores: Float[np.ndarray, " feature"]) -> list[float]:
    return [float(np.median(scores[own])) for own in layer_slices(ranking.axis)]
