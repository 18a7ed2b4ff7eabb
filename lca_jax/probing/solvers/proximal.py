"""The exact solver: a queue of problems, as many at a time as keep the devices busy, each until its own gap is small.

Problems that are solved together are lanes of one batch, and one matrix product. A solved problem leaves its lane at
once to the next one that is ready: one whose stronger neighbour on its penalty grid is solved, at whose solution it
starts (`path`). The weakest l1 go first: they take longest, and easy problems fill the lanes at the end. `lanes` holds
the arrays, `iteration` says what happens in a lane and what it costs.

A lane that waits costs as much as one that works, so the batch is no wider than the device needs, see `lanes_of`. It
has two widths at most: the second, narrower one is for the last problems.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from typing import NamedTuple, TypedDict

import numpy as np
from jax.sharding import Mesh

from lca_jax.machine.devices import platform_of
from lca_jax.machine.progress import shown_while
from lca_jax.machine.spill import Spill
from lca_jax.probing.kept_answers import NONE_KEPT, KeptBatch
from lca_jax.probing.losses.loss import Loss
from lca_jax.probing.matrix.matrix import Matrix
from lca_jax.probing.matrix.sizes import coarse_size
from lca_jax.probing.penalties.penalty import Penalty
from lca_jax.probing.problems import Answer, Question, Start
from lca_jax.probing.solvers.lanes import (
    Lanes,
    PlacedLabels,
    answer_of,
    enter,
    keep_lanes,
    lane_of,
    over,
    spread,
)
from lca_jax.probing.solvers.sharing import shareable
from lca_jax.probing.solvers.stepping import advance

_BUSY_COLUMNS = {"cpu": 128}
"""Columns of weights, problems times classes, from which the products are as fast as they get. Measured on two cores of
a CPU: 17 columns .4 to .6 of the rate of 3,000, 68 columns .85, 136 columns .95. More columns only starve longer."""
_BUSY_COLUMNS_ELSEWHERE = 1024
"""Accelerators make output tiles of some 128 by 128 on about a hundred units; 2,000 words by 1,024 columns have 128.
The balance of operations and bytes asks for less, 28 columns on an H200 and 80 on a TPU v5e (`bench_grid`)."""
_TAIL_SHARE = 3
"""The last paths are solved in a batch of a third of the lanes."""
_TAIL_ITERATIONS = 200
"""Iterations that the last paths take when no other is left: measured on 36 pairs, 200 to 300."""
_COMPILE_S = 2.0
"""Seconds that another width costs to compile; measured, 1.5 to 2.5."""
_RATE = {"cpu": 5e10}
"""Operations in a second that a batch makes of its lanes, element-wise work included; measured on two cores."""
_RATE_ELSEWHERE = 2e13
"""A third of the float32 peak of an H200; not measured."""


@dataclass(frozen=True, kw_only=True)
class Proximal:
    """Proximal steps in the metric of the words, with momentum; implements `Solver`."""

    tolerance: float
    """A problem is solved when its duality gap is at most this share of its objective at zero weights."""
    max_iterations: int
    """A problem that needs more is returned with `converged` False and the gap it has."""

    @property
    def iterates_to_tolerance(self) -> bool:
        """True."""
        return True

    def check(self, penalty: Penalty) -> None:
        """Accepts every penalty: this solver calls nothing beyond `Penalty`."""

    def solve(
        self,
        matrix: Matrix,
        questions: Sequence[Question],
        loss: Loss,
        penalty: Penalty,
        *,
        at_once: int,
        kept: KeptBatch = NONE_KEPT,
    ) -> list[Answer]:
        """Solves every question; a problem stays in its lane until it is solved in all layers."""
        lanes = lanes_of(questions, matrix.mesh, at_once=at_once)
        queue = _Queue(self, matrix, questions, loss, penalty, lanes=lanes, kept=kept)
        batch, certificates, told = queue.open(), Certificates(), 0
        with shown_while(len(questions), "fit: problems") as bar:
            while batch is not None:
                batch = queue.leave(queue.advance(batch))
                for answer in islice(queue.answers.values(), told, None):
                    certificates.add(answer)
                bar.count(len(queue.answers) - told, str(certificates))
                told = len(queue.answers)
        return [queue.answers[number] for number in range(len(questions))]


SOLVER = Proximal


@dataclass
class Certificates:
    """Counts answers that are certified in all layers, and keeps the largest gap; `str` says both."""

    certified: int = 0
    largest: float = 0.0
    """Of all answers, as a share of the null objective."""

    def add(self, answer: Answer) -> None:
        """Counts one answer."""
        self.certified += bool(answer.converged.all())
        # A problem of one class has no loss at all, and no gap.
        self.largest = max(self.largest, float(answer.duality_gap.max()) / (answer.null_objective or 1.0))

    def __str__(self) -> str:
        return f"{self.certified} certified, largest gap {self.largest:.1e}"


def lanes_of(questions: Sequence[Question], mesh: Mesh, *, at_once: int) -> int:
    """Returns the width of the batch: as many lanes as keep the devices busy, if paths and memory allow.

    Each of many devices is to have a problem of its own (`sharing`): the batch is as wide as they are many, and where
    it is wider a multiple of that.

    Args:
        questions: The questions.
        mesh: The devices.
        at_once: Number of problems that memory can hold.
    """
    classes = max(question.classes for question in questions)
    paths = sum(question.parent is None for question in questions)
    return lane_count(paths, classes, mesh, at_once=at_once)


def lane_count(paths: int, classes: int, mesh: Mesh, *, at_once: int) -> int:
    """Returns the width of a batch, as `lanes_of`.

    Args:
        paths: Questions that need no other.
        classes: Classes of the widest question.
        mesh: The devices.
        at_once: Number of problems that memory can hold.
    """
    columns = _BUSY_COLUMNS.get(platform_of(mesh), _BUSY_COLUMNS_ELSEWHERE)
    busy = max(mesh.size, columns // classes)
    return shareable(min(coarse_size(min(busy, paths)), at_once), mesh)


class _Batch(NamedTuple):
    """The problems that are being solved."""

    members: list[int | None]
    """Number of the question in each lane; None where the lane is idle."""
    lanes: Lanes

    @property
    def running(self) -> list[int]:
        """The lanes that are not idle."""
        return [lane for lane, number in enumerate(self.members) if number is not None]


class _Layout(TypedDict):
    """How the arrays of lanes lie on the devices."""

    layered: bool
    mesh: Mesh


class _Queue:
    """One call of `solve`: the questions that wait, and the answers."""

    def __init__(
        self,
        settings: Proximal,
        matrix: Matrix,
        questions: Sequence[Question],
        loss: Loss,
        penalty: Penalty,
        *,
        lanes: int,
        kept: KeptBatch,
    ) -> None:
        self.answers = dict(kept.known)
        self._kept, self._spill = kept, Spill()
        self._settings, self._matrix, self._questions = settings, matrix, questions
        self._loss, self._penalty, self._lanes = loss, penalty, lanes
        self._classes = max(question.classes for question in questions)
        self._weighted = any(question.weights is not None for question in questions)
        unsolved = [number for number in range(len(questions)) if number not in self.answers]
        self._waiting = sorted(unsolved, key=lambda number: questions[number].l1)
        self._placed: dict[tuple[int, int], PlacedLabels] = {}
        self._uses = Counter(_labels_of(questions[number]) for number in unsolved)
        self._nulls: dict[int, float] = {}
        self._layout: _Layout = {"layered": matrix.layered, "mesh": matrix.mesh}
        self._tail = self._choose_tail()

    def open(self) -> _Batch | None:
        """Returns the first batch, of the questions that need no other; None where all answers are known."""
        if not self._waiting:
            return None
        first, *others = self._ready(self._lanes)
        lanes = spread(self._place(first), self._lanes, **self._layout)
        return self._fill(_Batch([first, *[None] * (self._lanes - 1)], lanes), others)

    def advance(self, batch: _Batch) -> _Batch:
        """Iterates until a problem can leave whose lane is wanted, or all are over."""
        running = len(batch.running)
        leavers = 1 if self._waiting else running - self._tail if running > self._tail else running
        options = {"loss": self._loss, "penalty": self._penalty, "max_iterations": self._settings.max_iterations}
        return batch._replace(lanes=advance(self._matrix, batch.lanes, batch.running, leavers, **options))

    def leave(self, batch: _Batch) -> _Batch | None:
        """Takes out the problems that are over and lets others in; None when there is none left."""
        matrix, members = self._matrix, list(batch.members)
        are_over = over(batch.lanes.state, matrix, self._settings.max_iterations)
        for lane in batch.running:
            number = members[lane]
            if number is not None and are_over[lane]:
                answer = answer_of(batch.lanes.state, lane, self._nulls[number], matrix)
                self._kept.keep(number, answer)
                self.answers[number] = answer._replace(weights=self._spill.keep(answer.weights))
                members[lane] = None
        batch = self._fill(batch._replace(members=members), self._ready(members.count(None)))
        if not batch.running:
            return None
        # Those that still wait, wait for the running ones: a path needs no second lane.
        if len(batch.running) <= self._tail < len(members) == self._lanes:
            return self._narrow(batch, self._tail)
        return batch

    def _choose_tail(self) -> int:
        """Returns the width of the batch in which the last paths are solved; 0 where it is not worth compiling."""
        matrix = self._matrix
        narrow = shareable(self._lanes // _TAIL_SHARE, matrix.mesh)
        columns = matrix.layers * self._classes * (self._lanes - narrow)
        saved = _TAIL_ITERATIONS * 4.0 * matrix.padded_words * matrix.features * columns
        rate = _RATE.get(platform_of(matrix.mesh), _RATE_ELSEWHERE)
        return narrow if saved > _COMPILE_S * rate else 0

    def _narrow(self, batch: _Batch, width: int) -> _Batch:
        idle = [lane for lane, number in enumerate(batch.members) if number is None]
        kept = [*batch.running, *idle][:width]
        lanes = keep_lanes(batch.lanes, np.array(kept, np.int32), **self._layout)
        return _Batch([batch.members[lane] for lane in kept], lanes)

    def _ready(self, free: int) -> list[int]:
        """Takes up to so many questions that can start out of those that wait."""
        parents = {number: self._questions[number].parent for number in self._waiting}
        ready = [number for number, parent in parents.items() if parent is None or parent in self.answers][:free]
        self._waiting = [number for number in self._waiting if number not in ready]
        return ready

    def _fill(self, batch: _Batch, entering: Sequence[int]) -> _Batch:
        members, lanes = list(batch.members), batch.lanes
        free = (lane for lane, number in enumerate(batch.members) if number is None)
        for lane, number in zip(free, entering, strict=False):
            lanes = enter(lanes, self._place(number), np.int32(lane), **self._layout)
            members[lane] = number
        return _Batch(members, lanes)

    def _place(self, number: int) -> Lanes:
        """Places a question on the devices, its labels only once."""
        question = self._questions[number]
        key = _labels_of(question)
        if key not in self._placed:
            self._placed[key] = PlacedLabels.of(
                question, self._matrix, self._loss, classes=self._classes, weighted=self._weighted
            )
        labels = self._placed[key]
        self._uses[key] -= 1
        if not self._uses[key]:
            del self._placed[key]
        self._nulls[number] = labels.null_objective
        start = question.start if question.parent is None else _start_at(self.answers[question.parent])
        return lane_of(question, labels, start, self._matrix, tolerance=self._settings.tolerance)


def _start_at(answer: Answer) -> Start:
    """Returns the start at the solution of another problem."""
    return Start(answer.weights, answer.bias, answer.curvature)


def _labels_of(question: Question) -> tuple[int, int]:
    """Returns a key that questions share whose labels and word weights are the same arrays."""
    return id(question.labels), id(question.weights)
