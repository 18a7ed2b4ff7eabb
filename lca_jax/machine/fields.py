"""Checks the values of a settings record against the types that its class declares.

Python does not: a seed of 1.5 or a Boolean `"x"` would be taken, and fail or mislead much later. Settings come from
people, from the command line and from JSON, so every record checks itself when it is made.
"""

from collections.abc import Mapping, Sequence
from dataclasses import fields
from functools import cache
from math import isfinite
from numbers import Integral, Real
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from lca_jax.errors import LcaError, SettingsError


def check_fields(record: object, *, error: type[LcaError] = SettingsError) -> None:
    """Checks the type of every field of a frozen dataclass; numbers of NumPy become those of Python.

    Whole numbers are allowed where numbers are wanted; Booleans are not numbers; numbers must be finite; paths must be
    usable as such. Sequences may be lists or tuples.

    Args:
        record: The record, from its `__post_init__`.
        error: The kind of error.

    Raises:
        LcaError: A value has another type; the message names the field, what it must be, and what was found.
    """
    hints = _hints(type(record))
    for field in fields(record):  # pyright: ignore[reportArgumentType] - a dataclass, by contract
        value = getattr(record, field.name)
        if isinstance(value, Integral | Real) and type(value) not in (int, float, bool):
            value = int(value) if isinstance(value, Integral) else float(value)
            object.__setattr__(record, field.name, value)
        if not _fits(value, hints[field.name]):
            wanted = _describe(hints[field.name])
            raise error(f"`{field.name}` must be {wanted}, got {_brief(value)}.")


@cache
def _hints(cls: type) -> dict[str, Any]:
    return get_type_hints(cls)


def _fits(value: object, hint: Any) -> bool:
    origin, parts = get_origin(hint), get_args(hint)
    if origin in (Union, UnionType):
        return any(_fits(value, part) for part in parts)
    if origin is Literal:
        return any(value == part and type(value) is type(part) for part in parts)
    if origin is tuple and parts[-1:] != (...,):
        return isinstance(value, tuple) and len(value) == len(parts) and all(map(_fits, value, parts))
    if origin in (Sequence, tuple, list):
        return isinstance(value, list | tuple) and all(_fits(item, parts[0]) for item in value)
    if origin in (Mapping, dict):
        return isinstance(value, Mapping) and all(
            _fits(key, parts[0]) and _fits(item, parts[1]) for key, item in value.items()
        )
    if hint in (int, float):
        kind = Integral if hint is int else Real
        return isinstance(value, kind) and not isinstance(value, bool) and _is_finite(value)
    if hint in (Path, str):
        return isinstance(value, hint) and "\0" not in str(value)
    if hint is Any or not isinstance(hint, type):
        return True
    return isinstance(value, hint)


def _is_finite(value: Real) -> bool:
    try:
        return isfinite(value)
    except OverflowError:  # a whole number that no float holds
        return False


def _describe(hint: Any) -> str:
    """Returns what a value must be, in words."""
    origin, parts = get_origin(hint), get_args(hint)
    if origin in (Union, UnionType):
        return " or ".join(dict.fromkeys(_describe(part) for part in parts if part is not NoneType))
    if origin is Literal:
        *first, last = map(repr, parts)
        return f"{', '.join(first)} or {last}" if first else last
    if origin in (Sequence, tuple, list):
        return f"a list of {_describe(parts[0]).removeprefix('a ')}s" if parts else "a list"
    if origin in (Mapping, dict):
        return "a table of settings"
    names = {int: "a whole number", float: "a finite number", bool: "true or false", str: "a text", Path: "a path"}
    return names.get(hint, getattr(hint, "__name__", str(hint)))


def _brief(value: object) -> str:
    try:
        text = repr(value)
    except ValueError:  # a whole number of more digits than Python prints
        text = "a number of thousands of digits"
    return text if len(text) <= 100 else text[:100] + "…"
