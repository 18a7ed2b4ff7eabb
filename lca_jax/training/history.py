"""What a tuning measured on its way: the loss of every step, and loss and accuracy on the dev texts."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

from lca_jax.tables import html_table, text_table


class Evaluation(NamedTuple):
    """A measurement on the dev texts."""

    step: int
    """Number of steps done."""
    train_loss: float
    """Mean loss of the steps since the last measurement, with dropout; in nats a unit."""
    loss: float
    """Mean loss on the dev texts, without dropout; in nats a unit."""
    accuracy: float
    """Share of the dev units that are classified as they are labelled."""


@dataclass(frozen=True, kw_only=True, repr=False)
class History:
    """A tuning until some step."""

    step: int = 0
    """Number of steps done."""
    losses: tuple[float, ...] = ()
    """Mean loss of each step's batch before the step, with dropout, in nats a unit."""
    evaluations: tuple[Evaluation, ...] = ()
    """The measurements on the dev texts."""

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> "History":
        """Inverts `as_json`."""
        evaluations = tuple(Evaluation(*fields) for fields in content["evaluations"])
        return cls(step=content["step"], losses=tuple(content["losses"]), evaluations=evaluations)

    def as_json(self) -> dict[str, Any]:
        """Returns the history as JSON holds it."""
        return asdict(self)

    @property
    def best(self) -> Evaluation | None:
        """The first measurement of the highest dev accuracy; None where nothing was measured."""
        return max(self.evaluations, key=lambda evaluation: evaluation.accuracy, default=None)

    @property
    def without_gain(self) -> int:
        """Number of measurements since the best one."""
        return 0 if self.best is None else len(self.evaluations) - 1 - self.evaluations.index(self.best)

    def table(self) -> dict[str, list[object]]:
        """Returns one row a measurement, as columns of equal length, ready for `pandas.DataFrame(...)`."""
        return {name: [getattr(one, name) for one in self.evaluations] for name in Evaluation._fields}

    def __repr__(self) -> str:
        return text_table(self.table(), caption=self._caption())

    def _repr_html_(self) -> str:
        return html_table(self.table(), caption=self._caption())

    def _caption(self) -> str:
        return f"{self.step} steps" + ("" if self.best is None else f", the best after {self.best.step}")
