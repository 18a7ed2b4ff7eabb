"""The figures of a page as SVG files beside it, each in the colours of the light page, with a link below the figure.

The page itself stays one file that needs no other: where it was passed on alone, only these links lead nowhere.
"""

import re
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import NamedTuple

from lca_jax.machine.files import write_text_whole

_CSS = Path(__file__).parent / "templates" / "page.css"
_FIGURE = re.compile(r'<svg class="chart[^"]*" viewBox="0 0 ([0-9.]+) ([0-9.]+)".*?</svg>', re.DOTALL)
_TITLE = re.compile(r"<title>(.*?)</title>", re.DOTALL)
_RULE = re.compile(
    r"^\.(?:chart|halo|middle|end|grid|base|reference|series|leader|whisker|band|mark|bar|pointer)\b.*$", re.M
)
_COLOUR = re.compile(r"--([a-z]+): ([^;]+);")


class PageWithFigures(NamedTuple):
    """A page whose figures can be saved."""

    page: str
    files: Mapping[str, str]
    """The content of every SVG file, by its path beside the page."""


def with_saved_figures(page: str, *, folder: str) -> PageWithFigures:
    """Adds a link to a file of its own below every figure of a page.

    Args:
        page: The page.
        folder: Name of the folder of the files.
    """
    files: dict[str, str] = {}

    def add(found: re.Match[str]) -> str:
        title = _TITLE.search(found[0])
        plain = re.sub(r"&#?\w+;", " ", title[1] if title else "figure")
        base = re.sub(r"[^a-z0-9]+", "-", plain.lower()).strip("-")[:60] or "figure"
        name, number = f"{folder}/{base}.svg", 1
        while name in files:
            number += 1
            name = f"{folder}/{base}-{number}.svg"
        files[name] = _standing_alone(found)
        return f'{found[0]}<a class="save" href="{name}" download>Save as SVG</a>'

    return PageWithFigures(_FIGURE.sub(add, page), files)


def write_with_figures(page: str, out: Path, *, folder: str = "figures") -> None:
    """Writes a page, and its figures into a folder beside it; each file whole or not at all."""
    found = with_saved_figures(page, folder=folder)
    for name, content in found.files.items():
        write_text_whole(out.parent / name, content)
    write_text_whole(out, found.page)


def _standing_alone(found: re.Match[str]) -> str:
    width, height = found[1], found[2]
    head = f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" '
    opening, _, content = found[0].partition(">")
    ground = f'<rect width="{width}" height="{height}" fill="#fff"/>'
    return f"{opening.replace('<svg ', head, 1)}><style>{_style()}</style>{ground}{content}\n"


@cache
def _style() -> str:
    """Returns the rules of figures out of the style of the page, with its colours in place of their names."""
    css = _CSS.read_text("utf-8")
    colours = dict(_COLOUR.findall(css.partition("@media")[0]))
    rules = "\n".join(rule for rule in _RULE.findall(css) if "width: 100%" not in rule)
    return re.sub(r"var\(--([a-z]+)\)", lambda name: colours[name[1]], rules)
