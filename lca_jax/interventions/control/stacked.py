"""Runs a stack of edits over a text as one compiled program, whose memory is that of one edit.

The edits lie behind each other on a first axis and `lax.map` takes one after the other: new values never recompile.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Literal

import jax
import numpy as np
from jaxtyping import Array, PyTree

from lca_jax.axes import DECODER
from lca_jax.interventions.measures import Setting, setting_of
from lca_jax.interventions.rows import Rows
from lca_jax.machine.progress import counted
from lca_jax.models.model import Model
from lca_jax.models.stack.stack import Params
from lca_jax.models.stack.taps import Edit


def run_edits(
    model: Model,
    batches: Sequence[Rows],
    edits: Mapping[str, Edit],
    *,
    score: Callable[..., Array],
    further: PyTree[Array | np.ndarray],
    where: Literal["all", "words"],
    name: str,
) -> list[np.ndarray]:
    """Returns what a score says of every batch, for every edit of a stack: arrays (point, …).

    Args:
        model: The model.
        batches: What it runs over, all of one shape.
        edits: From `stack_edits`.
        score: A pure function (setting, params, rows, edits, further); equal ones share their program.
        further: Arrays that the score needs besides.
        where: Whether all slots are edited, or those in the `words` of each batch.
        name: What is measured, for the progress.
    """
    run = partial(_score_edits, score=score, setting=setting_of(model), where=where)
    return [
        np.asarray(run(rows, model.params, dict(edits), further))
        for rows in counted(list(batches), f"{name}: batches with edits")
    ]


@partial(jax.jit, static_argnames=("score", "setting", "where"))
def _score_edits(
    rows: Rows,
    params: Params,
    stacked: Mapping[str, Edit],
    further: PyTree[Array],
    *,
    score: Callable[..., Array],
    setting: Setting,
    where: Literal["all", "words"],
) -> Array:
    edited = {site: rows.edited(where, decoder=site.startswith(DECODER)) for site in stacked}

    def at(edits: Mapping[str, Edit]) -> Array:
        placed = {site: edit._replace(where=edited[site]) for site, edit in edits.items()}
        return score(setting, params, rows, placed, further)

    return jax.lax.map(at, stacked)
