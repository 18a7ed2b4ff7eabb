"""The paths of all figures of a `results.json`."""

from collections.abc import Iterator


def keys_of(value: object, above: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """The path of every figure; a list of tables is one step, marked with `[]`."""
    if isinstance(value, dict):
        for name, part in value.items():
            yield from keys_of(part, (*above, name))
    elif isinstance(value, list) and value and isinstance(value[0], dict):
        for part in value:
            yield from keys_of(part, (*above[:-1], f"{above[-1]}[]"))
    else:
        yield above
