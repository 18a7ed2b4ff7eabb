"""The tables of a survey of many languages as CSV: what the cells of a page have no room for."""

import csv
import io
from collections.abc import Mapping, Sequence
from typing import Any

_OF_PAIR = (
    "share", "neurons", "overlap", "overlap_of_halves", "ceiling", "chance", "chance_of_layers", "p_chance",
    "shortfall", "shortfall_interval", "p_less", "of_ceiling", "verdict",
)  # fmt: skip


def pairs_csv(sharing: Mapping[str, Any] | None) -> str:
    """Returns one line a pair, size and kind (neurons or groups) of the entry `sharing`."""
    rows = [
        {
            "kind": kind,
            "one": pair["pair"][0],
            "other": pair["pair"][1],
            **_flat({name: pair[name] for name in _OF_PAIR}),
        }
        for kind, found in (sharing or {}).items()
        for pair in found["pairs"]
    ]
    return _csv(rows)


def transfer_csv(transfer: Sequence[Mapping[str, Any]] | None) -> str:
    """Returns one line a source and target of the entry `transfer`."""
    return _csv([_flat(one) for one in transfer or ()])


def _flat(entry: Mapping[str, Any]) -> dict[str, object]:
    """Returns plain columns: an interval is two of them, a table one for each of its keys."""
    columns: dict[str, object] = {}
    for name, value in entry.items():
        if isinstance(value, Mapping):
            columns |= {f"{name}_{key}": part for key, part in value.items()}
        elif isinstance(value, list | tuple):
            columns |= {f"{name}_{end}": part for end, part in zip(("low", "high"), value, strict=True)}
        else:
            columns[name] = value
    return columns


def _csv(rows: Sequence[Mapping[str, object]]) -> str:
    written = io.StringIO()
    names = list(dict.fromkeys(name for row in rows for name in row))
    table = csv.DictWriter(written, names, lineterminator="\n")
    table.writeheader()
    table.writerows(rows)
    return written.getvalue()
