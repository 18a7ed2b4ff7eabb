"""The page of all neurons of a task: a table that is searched and sorted in the browser, from a file on disk.

Its rows are data in the page, of which its one script draws a hundred at a time; the content policy allows this script
by its checksum, and no other. What would make the page larger than `LARGEST_BYTES` is left out, last neurons first, and
the page says so. Needs the extra `plots` (jinja2).
"""

import base64
import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from lca_jax.descriptors.top_words import TopWords
from lca_jax.report.environment import page_environment
from lca_jax.report.findings import CORRELATION
from lca_jax.report.sizes import LARGEST_BYTES, size_of

_SCRIPT = Path(__file__).parent / "templates" / "neurons.js"
_FRAME_BYTES = 40_000
"""More than everything on the page that is no row."""


class NeuronLine(NamedTuple):
    """One neuron of the table."""

    block: int
    """Place of its layer in `NeuronLines.blocks`."""
    index: int  # pyright: ignore[reportIncompatibleMethodOverride] - the field's own word; tuple.index goes unused
    score: float
    frequency: float | None
    """Share of the half-samples that select it; None where there are none."""
    interval: tuple[int, int] | None
    """Its ranks in them; None where there are none."""
    classes: Sequence[int]
    """Places in `NeuronLines.classes`."""
    copies: Sequence[tuple[int, int, float]]
    """Block, index and correlation of its near copies, strongest first."""
    words: TopWords
    description: str = ""


@dataclass(frozen=True, kw_only=True)
class NeuronLines:
    """All neurons of a task, best first."""

    task: str
    model: str
    rule: str
    """What orders them, in a few words."""
    blocks: Sequence[tuple[str, int]]
    """Site and number of every layer."""
    classes: Sequence[str]
    lines: Sequence[NeuronLine]


def render_neurons(table: NeuronLines, *, home: str, link: str, largest: int = LARGEST_BYTES) -> str:
    """Returns the text of the page.

    Args:
        table: The neurons.
        home: Address of the page of the run, relative to this one.
        link: Address of the file with the whole ranking.
        largest: Largest number of bytes of the page.

    Raises:
        MissingExtraError: The extra `plots` is not installed.
    """
    script = _SCRIPT.read_text("utf-8")
    forms: dict[str, int] = {}
    rows, left = list[str](), largest - _FRAME_BYTES - len(_json([table.blocks, table.classes]))
    for rank, line in enumerate(table.lines, 1):
        known = len(forms)
        row = _json(_row(rank, line, forms))
        left -= size_of(row) + 1 + sum(size_of(_json(form)) + 1 for form in list(forms)[known:])
        if left < 0:
            break
        rows.append(row)
    described = any(line.description for line in table.lines)
    head = {"blocks": table.blocks, "classes": table.classes, "forms": list(forms), "described": described}
    data = f'{_json(head)[:-1]},"rows":[{",".join(rows)}]}}'
    page = page_environment().get_template("neurons.html.jinja")
    return page.render(
        task=table.task,
        model=table.model,
        rule=table.rule,
        neurons=len(table.lines),
        shown=len(rows),
        described=described,
        home=home,
        link=link,
        correlation=CORRELATION,
        data=data,
        script=script,
        script_hash=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
    )


def _row(rank: int, line: NeuronLine, forms: dict[str, int]) -> list[object]:
    low, high = line.interval or (None, None)
    words = [[forms.setdefault(word.form, len(forms)), round(100 * word.score)] for word in line.words]
    copies = [[block, index, round(100 * correlation)] for block, index, correlation in line.copies]
    frequency = None if line.frequency is None else round(line.frequency, 3)
    facts = [rank, line.block, line.index, float(f"{line.score:.3g}"), frequency, low, high]
    return [*facts, list(line.classes), copies, words, line.description]


def _json(value: object) -> str:
    """Returns JSON that may stand in a page: no text in it can end the element around it."""
    plain = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    return plain.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")
