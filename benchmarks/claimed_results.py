"""A claim and a figure of `benchmarks.claims`, and the result files: the newest of a kind, and which were read."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from lca_jax.analysis.half_intervals import interval_of_halves


class Figure(NamedTuple):
    """A number that is above 0 where a claim is true, with its 95 % interval."""

    of: str
    """What it is of: a task, a tuning, a model."""
    value: float
    low: float
    high: float

    def numbers(self) -> dict[str, float]:
        """Returns value, low and high by name."""
        return {"value": self.value, "low": self.low, "high": self.high}

    def turned(self) -> "Figure":
        """Returns the number with the other sign."""
        return Figure(self.of, -self.value, -self.high, -self.low)

    def above(self, bar: float) -> "Figure":
        """Returns how far the number is above a bar."""
        return Figure(self.of, self.value - bar, self.low - bar, self.high - bar)

    def less(self, other: "Figure", of: str) -> "Figure":
        """Returns the difference from a number of other sentences: the squares of the reaches add up."""
        value = self.value - other.value
        low = float(np.hypot(self.value - self.low, other.high - other.value))
        high = float(np.hypot(self.high - self.value, other.value - other.low))
        return Figure(of, value, value - low, value + high)

    def size(self) -> "Figure":
        """Returns the size of the number; its interval is above 0 where that of the number does not hold 0."""
        return self.turned() if self.value < 0 else self


class Results:
    """The result files of a folder; `used` says which were read."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.used = folder, set[str]()

    def newest(self, ending: str) -> dict[str, Any] | None:
        """Returns the newest file whose name ends so, by the day in its name; None if there is none."""
        found = sorted(self.folder.glob(f"*-{ending}.json"), key=lambda file: file.name.split("-20")[-1])
        if not found:
            return None
        self.used.add(found[-1].name)
        return json.loads(found[-1].read_text("utf-8"))

    def every(self, benchmark: str) -> dict[str, dict[str, Any]]:
        """Returns all files of a benchmark by their name, without `.json`."""
        found = {}
        for file in sorted(self.folder.glob("*-20??-??-??-*.json")):
            if f'"benchmark": "{benchmark}"' in (text := file.read_text("utf-8"))[:200]:
                self.used.add(file.name)
                found[file.stem] = json.loads(text)
        return found

    def task(self, task: str) -> dict[str, Any] | None:
        """Returns one task of the papers' tables; None if it is not measured."""
        file = self.newest("paper-tables")
        return None if file is None else file["tasks"].get(task)

    def tables(
        self, read: Callable[[dict[str, Any]], Sequence[float]], tasks: Sequence[str] = ("upos", "chunk", "sem")
    ) -> list[Figure]:
        """Returns a number of several tasks; none unless all of them are measured.

        Args:
            read: Returns value, low and high of a task.
            tasks: The tasks.
        """
        found = {task: of for task in tasks if (of := self.task(task)) is not None}
        return [] if len(found) < len(tasks) else [Figure(task, *read(of)) for task, of in found.items()]


Reading = Callable[[Results], list[Figure]]
"""Finds the figures of a claim; none where they are not measured."""


@dataclass(frozen=True, kw_only=True)
class Claim:
    """One claim."""

    paper: str
    section: str
    says: str
    published: str | None = None
    """Its figures as published, where there are some."""
    by: str
    """What tests it: a quantity that is above 0 where the claim is true."""
    read: Reading | None = None
    """The figures; none where they are not measured. None where no result file can have them yet."""
    reason: str | None = None
    """Why it cannot be tested here; None where it can."""


def claim(paper: str, section: str, says: str, by: str, read: Reading | None = None, **more: str) -> Claim:
    """Makes a claim; `more` are `published` and `reason`."""
    return Claim(paper=paper, section=section, says=says, by=by, read=read, **more)


def over_halves(of: str, value: float, halves: Sequence[float]) -> Figure:
    """Returns a number of all words with its interval over half-samples."""
    return Figure(of, *interval_of_halves(value, np.asarray(halves, float)))
