"""The pieces that a model writes while neurons are edited, as a score of a batch of sources or prompts."""

from collections.abc import Callable, Mapping
from functools import cache, partial

import jax.numpy as jnp
from jaxtyping import Array, Int

from lca_jax.interventions.measures import Setting
from lca_jax.interventions.rows import Rows
from lca_jax.models.stack.stack import Params
from lca_jax.models.stack.taps import Edit
from lca_jax.models.writing.generation import Search, TextRules, write_pieces


@cache
def writing_score(rules: TextRules, search: Search, *, prompted: bool = False) -> Callable[..., Array]:
    """Returns a score (setting, params, rows, edits, further) whose values are the pieces that are written.

    It is the same function for the same settings, so that its program is compiled once.

    Args:
        rules: How texts begin and end.
        search: How pieces are chosen.
        prompted: Whether the model continues the text that it reads. Where edits have chosen slots, they are slots of
            that text, and what is written is not edited.
    """
    return partial(_write, rules=rules, search=search, prompted=prompted)


def _write(
    setting: Setting,
    params: Params,
    rows: Rows,
    edits: Mapping[str, Edit],
    further: tuple[()],
    *,
    rules: TextRules,
    search: Search,
    prompted: bool,
) -> Int[Array, "row _piece"]:
    del further
    if prompted:
        edits = {site: _with_room(edit, search.longest) for site, edit in edits.items()}
    return write_pieces(setting.graph, params, rows.batch, edits, rules=rules, search=search).pieces


def _with_room(edit: Edit, longest: int) -> Edit:
    """Returns an edit whose mask has a column for every place of the text, those that are written too."""
    if edit.where is None:
        return edit
    return edit._replace(where=jnp.pad(jnp.asarray(edit.where), ((0, 0), (0, longest))))
