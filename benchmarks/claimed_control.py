"""Finds the figures of `benchmarks.control` for the claims, each above 0 where its claim is true.

A figure is of the first neurons, edited in the words of the class that is left, as the papers edit relevant words: the
mean of both directions of a property. Differences take their terms for independent, although translating and zeroing
are measured on the same texts: their intervals are rather too wide.
"""

from functools import reduce
from operator import getitem
from typing import Any

import numpy as np

from benchmarks.claimed_results import Figure, Reading, Results

_Directions = dict[str, dict[str, Any]]
"""What was measured, by property and direction, as `tense, Pres to Past`."""


def tense_before(*others: str) -> Reading:
    """Reads how many more translations reach the other tense than the other class of other properties."""

    def read(results: Results) -> list[Figure]:
        found = _parts(results).get("translations", {})
        if not {"tense", *others} <= _tasks(found):
            return []
        tense, *rest = (_mean(found, task, ("reported", "class"), "reached") for task in ("tense", *others))
        return [tense.less(other, f"tense and {other.of}") for other in rest]

    return read


def translated_over_zeroed(results: Results) -> list[Figure]:
    """Reads how many more answers are others when neurons are translated than when they are zeroed."""
    return [
        _mean(found, task, ("translated",), "error_rate").less(
            _mean(found, task, ("zeroed",), "error_rate"), f"{part.replace('_', ' ')}, {task}"
        )
        for part, found in _parts(results).items()
        for task in sorted(_tasks(found))
    ]


def _parts(results: Results) -> dict[str, _Directions]:
    file = results.newest("control")
    return {} if file is None else file["parts"]


def _tasks(found: _Directions) -> set[str]:
    return {name.partition(",")[0] for name in found}


def _mean(found: _Directions, task: str, how: tuple[str, ...], share: str) -> Figure:
    """Returns a share of the first neurons, as the mean of both directions, which are of different texts."""
    records = [reduce(getitem, how, of) for name, of in found.items() if name.partition(",")[0] == task]
    shares = [record["points"][0][share] for record in records]
    value = float(np.mean([of["value"] for of in shares]))
    below = float(np.hypot.reduce([of["value"] - of["low"] for of in shares])) / len(shares)
    above = float(np.hypot.reduce([of["high"] - of["value"] for of in shares])) / len(shares)
    return Figure(task, value, value - below, value + above)
