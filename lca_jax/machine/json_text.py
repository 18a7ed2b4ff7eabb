"""Reads JSON, for the whole package: whatever a text holds, the outcome is plain values or one clear error.

Python's reader ends with a `RecursionError` where lists are nested too deeply, and with messages about digits or bytes
elsewhere. Here all of these are one `ValueError`, or an error of the package with the place and the way out.
"""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from lca_jax.errors import LcaError
from lca_jax.machine.urls import read_content

_DEEPEST = 64
"""Levels of lists and objects in a file of settings; what reads them further may recurse."""
_NAMES = {dict: "an object", list: "a list", str: "a text", int: "a whole number", float: "a number", bool: "a Boolean"}


def parse_json(text: str | bytes, *, pairs: bool = False) -> Any:
    """Returns the values of a JSON text.

    Args:
        text: The text, or its bytes in UTF-8.
        pairs: Whether objects become lists of (key, value), so that repeated keys are seen.

    Raises:
        ValueError: The text is not JSON, or is nested too deeply; the message says what is wrong and where.
    """
    try:
        return json.loads(text, object_pairs_hook=list if pairs else None)
    except RecursionError:
        raise ValueError("lists or objects are nested too deeply") from None


def as_json_has(value: object, *, default: Callable[[Any], Any] | None = None) -> Any:
    """Returns plain values as they come back from a file: tuples are lists, and all keys are texts.

    Args:
        value: What is written.
        default: Function that makes plain values of others, as in `json.dumps`.
    """
    return parse_json(json.dumps(value, default=default))


def parse_object(text: str | bytes, *, place: str, error: type[LcaError], way_out: str) -> dict[str, Any]:
    """Returns the object of a text that holds settings or facts.

    Args:
        text: The text, or its bytes in UTF-8.
        place: Name of the file, for the message.
        error: The kind of error.
        way_out: A sentence that says what to do about it.

    Raises:
        LcaError: The text is not JSON, not an object, or nested too deeply.
    """
    try:
        content = parse_json(text)
        if not isinstance(content, dict):
            raise ValueError(f"it must be an object, not {name_kind(content)}")  # noqa: TRY301, TRY004 - one message
        _refuse_depth(content)
    except ValueError as problem:
        raise error(f"{place} cannot be read as JSON: {problem}. {way_out}") from None
    return content


def read_object(path: Path, *, error: type[LcaError], way_out: str) -> dict[str, Any]:
    """Reads a file that holds one JSON object.

    Raises:
        FileNotFoundError: There is no such file.
        LcaError: The file cannot be read or does not hold an object; `error` and `way_out` are those of `parse_object`.
    """
    try:
        text = read_content(path)
    except FileNotFoundError:
        raise
    except (OSError, ValueError) as problem:
        raise error(f"{path} cannot be read: {problem}. {way_out}") from None
    return parse_object(text, place=str(path), error=error, way_out=way_out)


def take(content: Mapping[str, Any], key: str, kind: type | tuple[type, ...], *, place: str) -> Any:
    """Returns the value of a key after checking its type; whole numbers count as numbers, Booleans do not.

    Raises:
        ValueError: The key is missing, or its value has another type; the message names both.
    """
    if key not in content:
        raise ValueError(f"{place} has no `{key}`")
    value, kinds = content[key], kind if isinstance(kind, tuple) else (kind,)
    fits = isinstance(value, kinds) or (float in kinds and isinstance(value, int))
    if not fits or (isinstance(value, bool) and bool not in kinds):
        wanted = " or ".join(_NAMES.get(one, "null") for one in kinds)
        raise ValueError(f"`{key}` of {place} must be {wanted}, got {name_kind(value)}")
    return value


def name_kind(value: object) -> str:
    """Returns what kind of JSON value something is, for a message."""
    return "null" if value is None else _NAMES.get(type(value), type(value).__name__)


def _refuse_depth(content: dict[str, Any]) -> None:
    level: list[dict[str, Any] | list[Any]] = [content]
    depth = 0
    while level:
        depth += 1
        if depth > _DEEPEST:
            raise ValueError(f"its lists or objects are nested more than {_DEEPEST} deep")
        below = (value.values() if isinstance(value, dict) else value for value in level)
        level = [inside for values in below for inside in values if isinstance(inside, dict | list)]


def compact_parts(content: Sequence[object]) -> Iterator[bytes]:
    """Yields the JSON text of a list, without white space: a list inside it item by item, anything else at once."""
    yield b"["
    for number, one in enumerate(content):
        items = one if isinstance(one, list) else [one]
        yield b"," * (number > 0) + b"[" * isinstance(one, list)
        for place, item in enumerate(items):
            yield b"," * (place > 0) + json.dumps(item, separators=(",", ":")).encode()
        yield b"]" * isinstance(one, list)
    yield b"]"
