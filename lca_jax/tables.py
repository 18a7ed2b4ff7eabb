"""Small tables for a prompt and for a notebook, from columns of equal length.

Results describe themselves with it: `__repr__` uses `text_table`, `_repr_html_` uses `html_table`, and `table()`
returns the columns themselves, ready for `pandas.DataFrame(...)`. Both show the first rows and count the rest.
"""

from collections.abc import Mapping, Sequence
from html import escape
from numbers import Integral, Number, Real

import numpy as np
from jaxtyping import Shaped

from lca_jax.errors import SettingsError

Column = Sequence[object] | Shaped[np.ndarray, " row"]
Columns = Mapping[str, Column]
"""Values by the name of their column; all columns are of equal length."""
ROWS = 10
"""Number of rows that are shown unless the caller says otherwise."""


def text_table(columns: Columns, *, caption: str | None = None, rows: int = ROWS) -> str:
    """Returns the columns as lines of text: the caption, the names, the first rows, and how many rows follow.

    Numbers stand to the right, everything else to the left. None is shown as `-`.

    Args:
        columns: Values by the name of their column.
        caption: First line, if there is one.
        rows: Number of rows that are shown, 0 or more.

    Raises:
        SettingsError: The columns are not of equal length.
    """
    count = _row_count(columns)
    lines = [] if caption is None else [caption]
    cells = {name: [name, *(_cell(value) for value in values[:rows])] for name, values in columns.items()}
    aligned = []
    for name, texts in cells.items():
        width = max(len(text) for text in texts)
        numeric = _is_numeric(columns[name])
        aligned.append([text.rjust(width) if numeric else text.ljust(width) for text in texts])
    lines += ["  ".join(line).rstrip() for line in zip(*aligned, strict=True)]
    if count > rows:
        lines.append(_more(count - rows))
    return "\n".join(lines)


def html_table(columns: Columns, *, caption: str | None = None, rows: int = ROWS) -> str:
    """Returns the columns as an HTML table, with every text escaped: what a notebook shows of a result.

    Args:
        columns: Values by the name of their column.
        caption: Text above the table, if there is one.
        rows: Number of rows that are shown, 0 or more.

    Raises:
        SettingsError: The columns are not of equal length.
    """
    count = _row_count(columns)
    align = [
        'style="text-align: right"' if _is_numeric(values) else 'style="text-align: left"'
        for values in columns.values()
    ]
    head = "".join(f"<th {style}>{escape(name)}</th>" for name, style in zip(columns, align, strict=True))
    lines = ["<table>"]
    if caption is not None:
        lines.append(f"<caption>{escape(caption)}</caption>")
    lines.append(f"<thead><tr>{head}</tr></thead>")
    lines.append("<tbody>")
    for place in range(min(rows, count)):
        cells = (
            f"<td {style}>{escape(_cell(values[place]))}</td>"
            for values, style in zip(columns.values(), align, strict=True)
        )
        lines.append(f"<tr>{''.join(cells)}</tr>")
    if count > rows:
        lines.append(f'<tr><td colspan="{len(columns)}">{_more(count - rows)}</td></tr>')
    lines += ["</tbody>", "</table>"]
    return "\n".join(lines)


def _row_count(columns: Columns) -> int:
    """Returns the common length of the columns."""
    lengths = {name: len(values) for name, values in columns.items()}
    if len(set(lengths.values())) > 1:
        raise SettingsError(f"The columns of a table must be of equal length, got {lengths}.")
    return next(iter(lengths.values()), 0)


def _more(count: int) -> str:
    return f"… and {count} more {'row' if count == 1 else 'rows'}"


def _is_numeric(values: Column) -> bool:
    """Tells whether a column holds numbers only, None aside; the first ones decide."""
    present = [value for value in values[: 2 * ROWS] if value is not None]
    return bool(present) and all(isinstance(value, Number) and not isinstance(value, bool) for value in present)


def _cell(value: object) -> str:
    """Returns one value as text: whole numbers and texts in full, other numbers with four digits, None as `-`."""
    if value is None:
        return "-"
    if isinstance(value, Real) and not isinstance(value, Integral):
        return f"{float(value):.4g}"
    return str(value)
