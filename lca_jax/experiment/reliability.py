"""How far the rankings of a run reproduce: its probes on half-samples of the training sentences, and what they tell.

The penalty is that of the run's probe, with the l2 of the ranking `bagged`, so a half costs one problem of one solve.
Every half is ranked by the method of the run, by its own probe alone. The run's ranking reads all of the words, or all
of the halves, so it is more stable than this says.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
from jaxtyping import Shaped

from lca_jax.analysis.samples import fit_samples
from lca_jax.analysis.stability import Spread, Stability, measure_stability
from lca_jax.experiment.rankings import Rankings
from lca_jax.probing.probe_set import ProbeSet
from lca_jax.ranking.ranking import Ranking

_TOP = 20
"""Number of neurons that are listed: those of `top_neurons`."""


def fit_halves(probes: ProbeSet, tasks: Sequence[str], *, replicates: int, least_l2: float) -> ProbeSet:
    """Returns the chosen probes of all tasks, each followed by its probes on half-samples, with at least so much l2."""
    sets = [fit_samples(probes, task, replicates=replicates, least_l2=least_l2) for task in tasks]
    return replace(sets[0], probes=tuple(probe for of_task in sets for probe in of_task))


def stability_of(rankings: Rankings, task: str, *, count: int | None = None) -> Stability:
    """Compares the rankings of the half-samples of a task.

    Args:
        rankings: The rankings of the run, with half-samples.
        task: The task.
        count: Number of leading neurons that are divided among the classes; None to count none.
    """
    halves, sets = rankings.of_halves(task), None
    if count is not None:
        sets = [rankings.by_class(task, half.top(count), replicate=number) for number, half in enumerate(halves, 1)]
    return measure_stability(halves, class_sets=sets)


def reliability_entry(stability: Stability, ranking: Ranking) -> dict[str, object]:
    """Returns the `reliability` entry of a task in `results.json`."""
    top = ranking.columns[:_TOP]
    return {
        "replicates": stability.replicates,
        "kind": stability.kind,
        "overlap": [
            {
                "share": point.share,
                "neurons": point.neurons,
                "overlap": point.overlap,
                "overlap_std": point.overlap_std,
                "chance": point.chance,
                "chance_high": point.chance_high,
                **_interval("mean_layer", point.mean_layer),
            }
            for point in stability.points
        ],
        "selected": stability.selected,
        "threshold": stability.threshold,
        "stable_neurons": len(stability.stable),
        "error_bound": stability.error_bound,
        "per_class": {name: _interval("neurons", spread) for name, spread in stability.class_neurons.items()},
        "top_neurons": [
            {
                **stability.axis.neuron(column)._asdict(),
                "frequency": float(stability.frequency[column]),
                "rank_interval": [float(stability.rank_low[column]), float(stability.rank_high[column])],
            }
            for column in top.tolist()
        ],
    }


def csv_columns(rankings: Rankings, task: str) -> Mapping[str, Shaped[np.ndarray, " feature"]]:
    """Returns further columns of a ranking's table: its name, and with halves selection frequency and rank interval."""
    name = {"ranking": np.full(rankings.probes.axis.size, rankings.name)}
    if rankings.samples is None:
        return name
    stability = stability_of(rankings, task)
    return {
        **name,
        "frequency": stability.frequency,
        "rank_low": stability.rank_low,
        "rank_high": stability.rank_high,
    }


def _interval(name: str, spread: Spread) -> dict[str, object]:
    return {name: spread.mean, f"{name}_interval": [spread.low, spread.high]}
