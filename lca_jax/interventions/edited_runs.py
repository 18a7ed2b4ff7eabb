"""Runs a model over a text with one edit after another, as one compiled program whose memory is that of one edit.

`lax.map` takes one point after the other and makes its edits: with `vmap` over all of them memory would grow with their
number, and on a CPU the time too. New values never recompile.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial

import jax
import numpy as np
from jaxtyping import Array, PyTree

from lca_jax.axes import DECODER
from lca_jax.errors import SettingsError
from lca_jax.interventions.choices import Where
from lca_jax.interventions.measures import Setting, setting_of
from lca_jax.interventions.rows import Rows
from lca_jax.machine.progress import counted
from lca_jax.models.model import Model
from lca_jax.models.stack.stack import Params
from lca_jax.models.stack.taps import Edit

EditsOf = Callable[[PyTree[Array], PyTree[Array]], Mapping[str, Edit]]
"""A pure function of a point and of what all points share, that returns the point's edits, of all slots."""


def refuse_slots_of_written(where: Where, batches: Sequence[Rows], sites: Iterable[str]) -> None:
    """Checks that slots are chosen of texts that are there.

    Args:
        where: Which slots are edited.
        batches: What the model runs over.
        sites: The sites that are edited.

    Raises:
        SettingsError: A decoder writes its text, so that it has no slots yet that could be chosen.
    """
    if where != "all" and batches[0].targets is None and any(site.startswith(DECODER) for site in sites):
        raise SettingsError(f"Slots of a text that is being written cannot be chosen by `where`, got {where!r}.")


def run_edits(
    model: Model,
    batches: Sequence[Rows],
    edits: Mapping[str, Edit],
    *,
    score: Callable[..., Array],
    further: PyTree[Array | np.ndarray],
    where: Where,
    name: str,
) -> list[np.ndarray]:
    """Returns what a score says of every batch, for every edit of a stack: arrays (point, …).

    Args:
        model: The model.
        batches: What it runs over, all of one shape.
        edits: From `stack_edits`.
        score: A pure function (setting, params, rows, edits, further); equal ones share their program.
        further: Arrays that the score needs besides.
        where: Which slots are edited.
        name: What is measured, for the progress.
    """
    run = partial(score_edits, edits_of=_itself, score=score, setting=setting_of(model), where=where)
    return [
        np.asarray(run(rows, model.params, dict(edits), (), further))
        for rows in counted(list(batches), f"{name}: batches with edits")
    ]


@partial(jax.jit, static_argnames=("edits_of", "score", "setting", "where", "at_once"))
def score_edits(
    rows: Rows,
    params: Params,
    points: PyTree[Array],
    shared: PyTree[Array],
    further: PyTree[Array],
    *,
    edits_of: EditsOf,
    score: Callable[..., Array],
    setting: Setting,
    where: Where,
    at_once: int = 1,
) -> Array:
    """Returns what a score says of a batch at every point: an array (point, …).

    Args:
        rows: The batch.
        params: The model's parameters.
        points: Arrays whose first axis is that of the points.
        shared: What the edits of all points are made of besides.
        further: Arrays that the score needs besides.
        edits_of: Makes the edits of a point. Equal functions, scores and settings share their program.
        score: A pure function (setting, params, rows, edits, further).
        setting: The model as the score sees it.
        where: Which slots are edited.
        at_once: Number of points that are computed together.
    """

    def at(point: PyTree[Array]) -> Array:
        edits = {
            site: edit._replace(where=rows.edited(where, decoder=site.startswith(DECODER)))
            for site, edit in edits_of(point, shared).items()
        }
        return score(setting, params, rows, edits, further)

    return jax.lax.map(at, points, batch_size=None if at_once == 1 else at_once)


def _itself(edits: Mapping[str, Edit], shared: tuple[()]) -> Mapping[str, Edit]:
    del shared
    return edits
