"""The penalties of a search as a table, shaded by what they were chosen by."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from lca_jax.report.formats import is_number
from lca_jax.report.scales import Scale


class GridCell(NamedTuple):
    """One penalty of the search; `heat` runs from 0 (lowest score of the search) to 1 (highest)."""

    row: Mapping[str, object]
    heat: float


class SearchGrid(NamedTuple):
    """The penalties of the search as a table: l1 down, l2 across; None where a combination was not tried."""

    measure: str
    l1: tuple[float, ...]
    l2: tuple[float, ...]
    cells: tuple[tuple[GridCell | None, ...], ...]


def arrange_search(rows: Sequence[Mapping[str, object]]) -> SearchGrid | None:
    """Arranges the penalties of a search as a table, shaded by score, or by accuracy if no scores were computed."""
    row_of = {(l1, l2): row for row in rows if is_number(l1 := row.get("l1")) and is_number(l2 := row.get("l2"))}
    measure = next((name for name in ("score", "accuracy") if any(is_number(row.get(name)) for row in rows)), None)
    if not row_of or measure is None:
        return None
    values = [value for row in rows if is_number(value := row.get(measure))]
    heat = Scale(min(values), max(values), 0.0, 1.0)
    rows_l1 = tuple(sorted({l1 for l1, _ in row_of}))
    columns_l2 = tuple(sorted({l2 for _, l2 in row_of}))

    def cell(row: Mapping[str, object] | None) -> GridCell | None:
        if row is None:
            return None
        value = row.get(measure)
        return GridCell(row, heat(value) if is_number(value) else 0.0)

    cells = tuple(tuple(cell(row_of.get((l1, l2))) for l2 in columns_l2) for l1 in rows_l1)
    return SearchGrid(measure, rows_l1, columns_l2, cells)
