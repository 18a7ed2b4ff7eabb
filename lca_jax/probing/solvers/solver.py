"""The interface of a solver: a frozen record of its own settings that answers questions on one matrix."""

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

from lca_jax.probing.kept_answers import NONE_KEPT, KeptBatch
from lca_jax.probing.losses.loss import Loss
from lca_jax.probing.matrix.matrix import Matrix
from lca_jax.probing.penalties.penalty import Penalty
from lca_jax.probing.problems import Answer, Question


@runtime_checkable
class Solver(Protocol):
    """Solves convex problems, each by its own certificate; asks nothing but the interfaces of matrix, loss, penalty."""

    @property
    def iterates_to_tolerance(self) -> bool:
        """Whether a problem ends when it is solved, so that one that is not converged is worth a warning."""
        ...

    def check(self, penalty: Penalty) -> None:
        """Refuses a penalty that lacks a method this solver calls.

        Raises:
            SettingsError: Names the method, and the way out.
        """
        ...

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
        """Answers every question.

        Args:
            matrix: Features of the words.
            questions: Questions with labels of this loss; they are solved in every layer, where the matrix has layers.
            loss: Compares predictions with labels.
            penalty: Penalises the weights by each question's l1 and l2.
            at_once: Number of problems that memory can hold at a time, at least 1.
            kept: Answers that are known, which are not asked for again, and the place that is given the others.

        Returns:
            An answer for each question, in their order.
        """
        ...
