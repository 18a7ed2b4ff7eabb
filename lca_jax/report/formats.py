"""Numbers and words in the form that a reader sees; whatever is missing or not finite becomes a dash.

All other modules hold fractions in 0..1; only this one turns them into percent.
"""

import math
import unicodedata
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TypeGuard

import numpy as np

MISSING = "\N{EN DASH}"
_MINUS = "\N{MINUS SIGN}"
_NO_BREAK = "\N{NO-BREAK SPACE}"
_STRONG = {"L": "ltr", "R": "rtl", "AL": "rtl"}


def is_number(value: object) -> TypeGuard[float]:
    """Returns whether `value` is a finite number of Python or numpy."""
    return isinstance(value, int | float | np.number) and not isinstance(value, bool) and math.isfinite(value)


def percent(value: object, digits: int = 1) -> str:
    """Writes a fraction as percent: 0.934 is `93.4%`."""
    return _or_missing(value, lambda fraction: f"{100 * fraction:.{digits}f}%")


def share(value: object) -> str:
    """Writes a fraction that was chosen, not measured, as percent: 0.2 is `20%`, 0.001 is `0.1%`."""
    return _or_missing(value, lambda fraction: f"{_general(100 * fraction, 3)}%")


def points(value: object) -> str:
    """Writes a difference of two fractions in percentage points: 0.01 is `1 point`, 0.005 is `0.5 points`."""

    def write(difference: float) -> str:
        amount = _general(100 * difference, 3)
        return f"{amount}{_NO_BREAK}point{'' if amount == '1' else 's'}"

    return _or_missing(value, write)


def integer(value: object) -> str:
    """Writes a count with separated thousands: `25,094`."""
    return _or_missing(value, lambda count: f"{count:,.0f}")


def number(value: object, digits: int = 3) -> str:
    """Writes any number to `digits` significant digits, small ones as powers of ten: `0.213`, `1e-4`, `4,210`."""
    return _or_missing(value, lambda amount: _general(amount, digits))


def decimal(value: object, digits: int = 3) -> str:
    """Writes a number with `digits` decimals, for columns that are compared: `0.310`."""
    return _or_missing(value, lambda amount: f"{amount:.{digits}f}")


def signed(value: object, digits: int = 1) -> str:
    """Writes a number with its sign, `+1.3` for a positive one; a number that rounds to zero gets no sign."""

    def write(amount: float) -> str:
        rounded = round(amount, digits)
        return f"{rounded:+.{digits}f}" if rounded else f"{0:.{digits}f}"

    return _or_missing(value, write)


def seconds(value: object) -> str:
    """Writes a duration in its two largest units: `0.42 s`, `3 min 20 s`, `2 h 5 min`."""
    return _or_missing(value, _duration)


def fact(value: object) -> str:
    """Writes any fact about a model or a machine: a count, a name, a list or a table of them."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, Mapping):
        return ", ".join(f"{name}: {fact(part)}" for name, part in value.items())
    if isinstance(value, list | tuple):
        return ", ".join(fact(part) for part in value)
    if isinstance(value, int | float | np.number):
        return integer(value) if float(value).is_integer() else number(value)
    return MISSING if value is None else str(value) or MISSING


def shorten(text: str, longest: int = 40) -> str:
    """Returns the text in at most `longest` characters. The middle is left out: the end of a long word tells much."""
    if len(text) <= longest:
        return text
    end = longest // 4
    return f"{text[: longest - end - 1]}…{text[-end:]}"


def listing(names: Sequence[str], shown: int = 4) -> str:
    """Joins names: `a`, `a and b`, `a, b and c`; names beyond the first `shown` are counted."""
    names = [*names[:shown], f"{len(names) - shown} more"] if len(names) > shown else names
    return " and ".join(part for part in (", ".join(names[:-1]), *names[-1:]) if part)


def model_name(name: str) -> str:
    """Returns the last part of a model's name; folders of packages write the slash of a hub name as two underscores."""
    return name.rstrip("/").split("/")[-1].split("__")[-1]


def direction(words: Iterable[str]) -> str:
    """Returns `rtl` if the first letter that has a direction runs from right to left, else `ltr`."""
    kinds = (unicodedata.bidirectional(character) for word in words for character in word)
    return next((_STRONG[kind] for kind in kinds if kind in _STRONG), "ltr")


def _or_missing(value: object, write: Callable[[float], str]) -> str:
    if not is_number(value):
        return MISSING
    text = write(float(value))
    return _MINUS + text[1:] if text.startswith("-") else text


def _general(amount: float, digits: int) -> str:
    if abs(amount) >= 1000:
        return f"{amount:,.0f}"
    if 0 < abs(amount) < 1e-3:
        mantissa, exponent = f"{amount:.{digits - 1}e}".split("e")
        return f"{float(mantissa):g}e{int(exponent)}"
    return f"{amount:.{digits}g}"


def _duration(amount: float) -> str:
    if amount < 10:
        return f"{amount:.2g}{_NO_BREAK}s"
    minutes, rest_s = divmod(round(amount), 60)
    hours, rest_min = divmod(minutes, 60)
    parts = [(hours, "h"), (rest_min, "min"), (rest_s if hours == 0 else 0, "s")]
    return " ".join(f"{count}{_NO_BREAK}{unit}" for count, unit in parts if count)
