"""The record of an ablation curve: points with paired intervals, and claims about which sets do more harm."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from lca_jax.errors import SettingsError
from lca_jax.interventions.choices import SetName, Sweep
from lca_jax.interventions.measures import Lost
from lca_jax.tables import html_table, text_table

Outcome = Literal["holds", "fails", "within noise"]
_RANDOM = "random"


@dataclass(frozen=True, kw_only=True)
class AblationPoint:
    """One set of neurons removed. For sets that were drawn, the mean over the draws."""

    ranking: str
    """Name of the ranking; `random` for random sets, which belong to none."""
    set: SetName
    fill: str
    """What the neurons were set to."""
    first: int
    """First place of the order that was removed, from 0."""
    last: int
    """One past the last place: the number of neurons that were removed, unless the sweep begins later."""
    value: float
    """The score with the neurons removed (for perplexities of several draws the geometric mean)."""
    low: float
    """Lower end of its 95 % interval over sentences (and draws)."""
    high: float
    change: float
    """The score minus that of the model as it is."""
    change_low: float
    """Lower end of the paired 95 % interval of the change."""
    change_high: float
    draws: tuple[float, ...]
    """The score of each random draw; empty for sets that were not drawn."""
    layers: tuple[int, ...]
    """Number of removed neurons in each layer (for draws the mean, rounded), in the order of the curve's `layers`."""
    by_group: Mapping[str, float] = field(default_factory=dict)
    """The score of each group of sentences, such as a paradigm."""

    @property
    def count(self) -> int:
        """Number of neurons removed."""
        return self.last - self.first


@dataclass(frozen=True, kw_only=True)
class Claim:
    """Whether one set does more harm than another, on average over the points of the curve."""

    ranking: str
    fill: str
    stronger: SetName
    weaker: SetName
    excess: float
    """Harm of the one minus that of the other, mean over all points; in nats a word for perplexities, else in the unit
    of the score."""
    low: float
    """Lower end of its paired 95 % interval over sentences and draws."""
    high: float
    outcome: Outcome
    """`holds` if the interval is above 0, `fails` if it is below."""

    def __str__(self) -> str:
        """Says the claim and its outcome in one line."""
        return (
            f"{self.ranking}, {self.fill}: {self.stronger} hurts more than {self.weaker}: {self.outcome} "
            f"({self.excess:+.3g}, 95 % interval {self.low:+.3g} to {self.high:+.3g})"
        )


@dataclass(frozen=True, kw_only=True, repr=False)
class AblationCurve:
    """What a model loses when neurons are removed; from `lca_jax.ablation_curve`."""

    measure: str
    """What was measured."""
    sweep: Sweep
    whole: float
    """The score of the model as it is."""
    whole_low: float
    whole_high: float
    lost: Lost
    """`log`: the score rises with damage, and its logarithms are compared; `drop`: it falls."""
    sentences: int
    """Number of sentences (or pairs) behind every score."""
    draws: int
    """Number of random sets."""
    layers: tuple[str, ...]
    """Names of the layers of the rankings."""
    points: tuple[AblationPoint, ...]
    claims: tuple[Claim, ...]
    whole_by_group: Mapping[str, float] = field(default_factory=dict)

    def at(self, ranking: str, of: SetName, count: int, *, fill: str | None = None) -> AblationPoint:
        """Returns the point whose last removed neuron is the `count`-th of a set.

        Args:
            ranking: Name of the ranking; any for `random` sets.
            of: The set.
            count: One past the last place that is removed.
            fill: The fill; may be left out if there is one.

        Raises:
            SettingsError: There is no such point; the message lists rankings, counts and fills.
        """
        name = _RANDOM if of == _RANDOM else ranking
        fills = list(dict.fromkeys(point.fill for point in self.points))
        fill = fills[0] if fill is None and len(fills) == 1 else fill
        for point in self.points:
            if (point.ranking, point.set, point.last, point.fill) == (name, of, count, fill):
                return point
        known = {
            "rankings": dict.fromkeys(point.ranking for point in self.points),
            "sets": dict.fromkeys(point.set for point in self.points),
            "counts": dict.fromkeys(point.last for point in self.points),
            "fills": fills,
        }
        listed = "; ".join(f"{what}: {', '.join(map(str, names))}" for what, names in known.items())
        raise SettingsError(f"There is no point ({ranking!r}, {of!r}, {count}, fill={fill!r}). {listed}.")

    def to_dict(self) -> dict[str, Any]:
        """Returns the curve as JSON has it."""
        return asdict(self) | {"points": [asdict(point) | {"count": point.count} for point in self.points]}

    def table(self) -> dict[str, list[object]]:
        """Returns one row a point, ready for `pandas.DataFrame(...)`."""
        names = ("ranking", "set", "fill", "count", "value", "change", "change_low", "change_high")
        return {name: [getattr(point, name) for point in self.points] for name in names}

    def layer_table(self) -> dict[str, list[object]]:
        """Returns one row a set and count: how many of its neurons each layer has, a column a layer.

        Sets that differ in depth differ in harm for that alone: low layers disturb all above them.
        """
        points = {(point.ranking, point.set, point.first, point.last): point for point in self.points}.values()
        names = ("ranking", "set", "count")
        table: dict[str, list[object]] = {name: [getattr(point, name) for point in points] for name in names}
        for place, name in enumerate(self.layers):
            table[name] = [point.layers[place] for point in points]
        return table

    def __repr__(self) -> str:
        """Describes the curve: the score of the whole model, every point, every claim."""
        return "\n".join([text_table(self.table(), caption=self._caption()), *map(str, self.claims)])

    def _repr_html_(self) -> str:
        claims = "<br>".join(map(str, self.claims))
        return f"{html_table(self.table(), caption=self._caption())}\n<p>{claims}</p>"

    def _caption(self) -> str:
        return (
            f"{self.measure} with neurons removed ({self.sweep}, {self.draws} random sets, {self.sentences} "
            f"sentences); the model as it is {self.whole:.4g} ({self.whole_low:.4g} to {self.whole_high:.4g})"
        )
