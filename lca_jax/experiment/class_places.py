"""The `localisation` entry of a cell of a survey: where the neurons of every class of a task sit."""

from collections.abc import Sequence
from typing import Any

from lca_jax.analysis.half_intervals import Interval
from lca_jax.analysis.localisation import CLOSED_CLASSES, OPEN_CLASSES, ClassPlace, localise
from lca_jax.experiment.rankings import Rankings
from lca_jax.ranking.ranking import Ranking


def localisation_entry(rankings: Rankings, task: str, halves: Sequence[Ranking], *, count: int) -> dict[str, Any]:
    """Returns the entry of a task.

    Args:
        rankings: The rankings of a run with half-samples.
        task: The task.
        halves: The ranking of every half-sample.
        count: Number of first neurons that are divided among the classes.
    """
    of_halves = [
        rankings.by_class(task, half.top(count), replicate=replicate) for replicate, half in enumerate(halves, 1)
    ]
    whole = rankings.by_class(task, rankings.of(task).top(count))
    found = localise(whole, of_halves, rankings.probes.axis, kinds=(OPEN_CLASSES, CLOSED_CLASSES))
    contrast = found.contrast
    return {
        "neurons": count,
        "classes": {name: _place(place) for name, place in found.classes.items()},
        "classes_a_neuron": list(found.classes_a_neuron),
        "expected_depth": found.expected_depth,
        "expected_lower_half": found.expected_lower_half,
        "open_and_closed": None
        if contrast is None
        else {
            "open": _place(contrast.places[0]),
            "closed": _place(contrast.places[1]),
            "more_neurons": list(contrast.more_neurons),
            "deeper": _ends(contrast.deeper),
        },
    }


def _place(place: ClassPlace) -> dict[str, Any]:
    return {"neurons": list(place.neurons), "depth": _ends(place.depth), "lower_half": _ends(place.lower_half)}


def _ends(interval: Interval | None) -> list[float] | None:
    """Returns value, low and high."""
    return None if interval is None else list(interval)
