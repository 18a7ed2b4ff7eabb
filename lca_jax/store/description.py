"""Describes a store in a few lines: at a prompt, in a notebook, and in the log."""

import logging
from collections.abc import Mapping, Sequence
from html import escape

from lca_jax.store.manifest import Manifest
from lca_jax.tables import html_table, text_table

_log = logging.getLogger(__name__)


def store_as_text(manifest: Manifest, *, tasks: Sequence[str], place: str) -> str:
    """Returns units, sites, layers, widths, tasks, words without a vector, and the place of a store, as lines of text.

    Args:
        manifest: The store's manifest.
        tasks: Names of its label columns.
        place: Its path or URL, or `memory`.
    """
    facts = [f"{name}: {text}" for name, text in _facts(manifest, tasks, place).items()]
    return "\n".join([text_table(_sites(manifest), caption=_caption(manifest)), *facts])


def store_as_html(manifest: Manifest, *, tasks: Sequence[str], place: str) -> str:
    """Returns the same as `store_as_text` in HTML, for a notebook."""
    facts = _facts(manifest, tasks, place).items()
    lines = "".join(f"<div>{escape(name)}: {escape(text)}</div>" for name, text in facts)
    return html_table(_sites(manifest), caption=_caption(manifest)) + lines


def warn_of_excluded(manifest: Manifest, *, name: str | None = None) -> None:
    """Says in the log how many units have no vector, one line a reason.

    Args:
        manifest: The store's manifest.
        name: Name of the store in the lines; the name of its corpus if None.
    """
    total = manifest.counts["vectors"] + sum(manifest.excluded.values())
    for reason, count in manifest.excluded.items():
        place = manifest.names["corpus"] if name is None else name
        _log.warning("%s: %d of %d %ss have no vector: %s", place, count, total, manifest.recipe.unit, reason)


def name_layers(layers: Sequence[int]) -> str:
    """Returns layer numbers for people: `0 to 11` where they follow each other, else one by one."""
    if len(layers) > 2 and list(layers) == list(range(layers[0], layers[0] + len(layers))):
        return f"{layers[0]} to {layers[-1]}"
    return ", ".join(map(str, layers))


def _caption(manifest: Manifest) -> str:
    recipe, counts = manifest.recipe, manifest.counts
    kind = "pairs of words" if recipe.derived is not None and recipe.derived.startswith("pairs") else f"{recipe.unit}s"
    origin = " and ".join(manifest.names[name] for name in ("corpus", "model"))
    return f"Activations of {counts['words']:,} {kind} ({counts['vectors']:,} with a vector), from {origin}"


def _sites(manifest: Manifest) -> Mapping[str, list]:
    sites = manifest.recipe.sites
    return {
        "site": list(sites),
        "layers": [name_layers(shape.layers) for shape in sites.values()],
        "neurons per layer": [shape.width for shape in sites.values()],
        "type": [manifest.recipe.dtype] * len(sites),
    }


def _facts(manifest: Manifest, tasks: Sequence[str], place: str) -> dict[str, str]:
    without = ", ".join(f"{count:,} {reason}" for reason, count in manifest.excluded.items())
    return {
        "tasks": ", ".join(tasks) or "none",
        "without a vector": without or "none",
        "place": place,
    }
