"""The record of a controlled property: what became of it, what else changed, and whether random neurons do the same."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from lca_jax.errors import SettingsError
from lca_jax.interventions.control.shifts import Shift
from lca_jax.interventions.effect import Outcome
from lca_jax.tables import html_table, text_table


@dataclass(frozen=True, kw_only=True)
class Share:
    """A share of units, 0 to 1, with its 95 % interval: Wilson's, for as many units as their sentences are worth."""

    value: float
    low: float
    high: float


@dataclass(frozen=True, kw_only=True)
class Quality:
    """A score of edited texts against those without edits, 0 to 100, with its 95 % interval over sentences."""

    value: float
    low: float
    high: float


@dataclass(frozen=True, kw_only=True)
class ControlPoint:
    """Some neurons of a ranking, or random ones of the same layers, shifted by one strength.

    Shares are of the units that showed the source class without edits. For random neurons units are counted in every
    draw, and texts are scored in all draws together.
    """

    ranking: str
    set: str
    """`top`, or `matched` for random neurons of the same layers."""
    size: int
    """Number of neurons."""
    strength: float
    reached: Share
    """Shows the target class now."""
    clean: Share | None
    """Shows the target class now, and all else is as it was; None where that is not known."""
    erased: Share
    """Shows no class any more."""
    other: Share
    """Shows a class that is neither source nor target."""
    kept: Share
    """Still shows the source class."""
    error_rate: Share
    """The answer is another one (Antverg and Belinkov 2022, section 4)."""
    clwv: Share | None
    """Correct lemma, wrong value: shows another class, and all else is as it was (ibid.); None where that is not
    known."""
    backward: Share | None
    """Of the units that showed the target without edits: shows the source now; None if there were none."""
    excess: float | None
    """Share that reached the target minus that of the random neurons; None for random neurons."""
    excess_low: float | None
    """Lower end of its paired 95 % interval over sentences and draws."""
    excess_high: float | None
    quality: Mapping[str, Quality]
    """BLEU and chrF of all texts, against those without edits; empty where no text was written."""
    draws: tuple[float, ...]
    """The share that reached the target in each random draw; empty for the top."""
    examples: tuple[tuple[str, str], ...]
    """The first texts that reached the target: before and after."""


@dataclass(frozen=True, kw_only=True)
class ControlClaim:
    """Whether neurons of a ranking turn the source into the target more often than random neurons of their layers."""

    ranking: str
    shift: Shift
    source: str
    target: str
    clean: bool
    """Whether only answers count in which all else is as it was. A broken text may show the target, too."""
    excess: float
    """Difference of the shares, mean over all sizes and strengths; strength 0 of a translation does not count."""
    low: float
    """Lower end of its paired 95 % interval over sentences and draws."""
    high: float
    outcome: Outcome
    """`holds` if the interval is above 0, `fails` if it is below."""

    def __str__(self) -> str:
        """Says the claim and its outcome in one line."""
        what = f"{self.source} into {self.target}" + (" and nothing else" if self.clean else "")
        return (
            f"{self.ranking}, {self.shift}: the first neurons turn {what} more often than random ones of their layers: "
            f"{self.outcome} ({self.excess:+.3g}, 95 % interval {self.low:+.3g} to {self.high:+.3g})"
        )


@dataclass(frozen=True, kw_only=True, repr=False)
class PropertyControl:
    """What becomes of a property when neurons are shifted; from `lca_jax.control_property`."""

    output: str
    """What was compared: translations, continuations, predicted words, or what a probe says."""
    task: str
    source: str
    target: str
    shift: Shift
    where: str
    """Which words were edited."""
    units: int
    """Number of units that showed the source class without edits."""
    target_units: int
    """Number of units that showed the target class without edits."""
    all_units: int
    """Number of units in all, of those with an edited word."""
    draws: int
    """Number of random sets."""
    points: tuple[ControlPoint, ...]
    claims: tuple[ControlClaim, ...]

    def at(self, ranking: str, of: str, size: int, strength: float) -> ControlPoint:
        """Returns one point: the first neurons of a ranking (`top`) or random ones of the same layers (`matched`).

        Raises:
            SettingsError: There is no such point; the message lists those that there are.
        """
        for point in self.points:
            if (point.ranking, point.set, point.size, point.strength) == (ranking, of, size, strength):
                return point
        known = [f"({point.ranking!r}, {point.set!r}, {point.size}, {point.strength:g})" for point in self.points]
        raise SettingsError(f"There is no point ({ranking!r}, {of!r}, {size}, {strength}). Points: {', '.join(known)}.")

    def to_dict(self) -> dict[str, Any]:
        """Returns the record as JSON has it."""
        return asdict(self)

    def table(self) -> dict[str, list[object]]:
        """Returns one row a point, ready for `pandas.DataFrame(...)`."""
        columns: dict[str, list[object]] = {
            name: [getattr(point, name) for point in self.points] for name in ("ranking", "set", "size", "strength")
        }
        for name in ("reached", "clean", "erased", "other", "error_rate", "clwv", "backward"):
            shares = [getattr(point, name) for point in self.points]
            columns[name] = [None if share is None else share.value for share in shares]
            if name == "reached":
                columns |= {"low": [share.low for share in shares], "high": [share.high for share in shares]}
        for name in ("excess", "excess_low", "excess_high"):
            columns[name] = [getattr(point, name) for point in self.points]
        for name in self.points[0].quality:
            columns[name] = [point.quality[name].value for point in self.points]
        return columns

    def __repr__(self) -> str:
        """Describes the record: every point, every claim."""
        table = text_table(self._shown(), caption=self._caption(), rows=len(self.points))
        return "\n".join([table, *map(str, self.claims)])

    def _repr_html_(self) -> str:
        claims = "<br>".join(map(str, self.claims))
        return f"{html_table(self._shown(), caption=self._caption(), rows=len(self.points))}\n<p>{claims}</p>"

    def _shown(self) -> dict[str, list[object]]:
        """Returns the columns that a reader wants first, numbers with their intervals in one."""
        table = self.table()
        shown: dict[str, list[Any]] = {name: table[name] for name in ("ranking", "set", "size", "strength")}
        reached = [_spanned(*of) for of in zip(table["reached"], table["low"], table["high"], strict=True)]
        excess = zip(table["excess"], table["excess_low"], table["excess_high"], strict=True)
        shown |= {f"to {self.target}": reached, "over random": [_spanned(*of, sign="+") for of in excess]}
        names = {"clean": "all else same", "erased": "erased", "error_rate": "changed", "clwv": "CLWV"}
        shown |= {title: table[name] for name, title in names.items()}
        return shown | {name: table[name] for name in self.points[0].quality}

    def _caption(self) -> str:
        return (
            f"{self.task}: {self.source} to {self.target} in {self.output} ({self.shift}, edited: {self.where}; "
            f"{self.units} of {self.all_units} units show {self.source}, {self.target_units} {self.target}; "
            f"{self.draws} random sets of the same layers)"
        )


def _spanned(value: Any, low: Any, high: Any, sign: str = "") -> str | None:
    return None if value is None else f"{value:{sign}.2f} ({low:{sign}.2f} to {high:{sign}.2f})"
