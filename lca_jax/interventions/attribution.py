"""Ranks neurons by integrated gradients: what of the log-probability of a text each neuron of a layer accounts for.

All neurons of a layer go together from a baseline b to what they are, x. Along the way the gradient of the text's
log-probability is taken by every neuron:

    A_j = sum over slots (x_j - b_j) ∫ ∂ log p / ∂x_j (b + α (x - b)) dα,        α from 0 to 1

The neurons of a layer add up to what the text's log-probability loses when the whole layer is set to the baseline
(completeness), where there are steps enough. A baseline of zeros needs many in models that normalise the states before
a layer reads them: their scale hardly matters until it is nearly zero. So a neuron is judged beside the others of its
layer, where `rank_by_ablation` removes it alone: copies share what they do. The integral is a sum over midpoints, and
costs a forward and a backward pass for each of them and each layer, however many neurons there are.

References: Sundararajan et al. 2017, "Axiomatic Attribution for Deep Networks", equation 1; Dai et al. 2022, "Knowledge
Neurons in Pretrained Transformers", section 3.1.
"""

from collections.abc import Mapping
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from lca_jax.axes import DECODER, NeuronAxis
from lca_jax.errors import SettingsError
from lca_jax.interventions.choices import Where
from lca_jax.interventions.curve import Vector, fills_of
from lca_jax.interventions.edits import columns_by_site, edits_of_columns
from lca_jax.interventions.measures import SLOTS, Perplexity, Setting, score_log_probabilities, setting_of
from lca_jax.interventions.rows import Rows
from lca_jax.machine.progress import counted
from lca_jax.models.model import Model
from lca_jax.models.stack.stack import Params
from lca_jax.ranking.ranking import Ranking, rank_by_scores


def rank_by_attribution(
    model: Model,
    axis: NeuronAxis,
    texts: Any,
    *,
    fill: str | Vector = "mean",
    steps: int = 8,
    where: Where = "all",
    slots: int = SLOTS,
) -> Ranking:
    """Ranks neurons by the log-probability of a text that integrated gradients give to each.

    Args:
        model: The model, with its head.
        axis: The neurons, such as those of a store (`store.axis()`).
        texts: A corpus or lines; pairs of lines for an encoder-decoder.
        fill: The baseline: `zero`, `mean` (over the slots that are edited, of the text itself), or a number for each
            column.
        steps: Number of midpoints of the integral; 1 takes the gradient halfway.
        where: Which slots go to the baseline.
        slots: Number of slots that are computed together.

    Returns:
        The ranking; its task is named `attribution`. A neuron's score is in nats a word: what the text loses by it on
        the way to the baseline. Those below 0 are neurons without which the text would be likelier.

    Raises:
        SettingsError: `steps` is below 1, or the fill is none of these.
        ModelError, DataError: As in `ablation_curve` with the measure `perplexity`.
    """
    if steps < 1:
        raise SettingsError(f"`steps` must be 1 or more, got {steps}.")
    measure = Perplexity.of(model, texts, slots=slots)
    (baseline,) = fills_of(model, axis, fill, batches=measure.batches, where=where).values()
    run = partial(_attribute, setting=setting_of(model), where=where, steps=steps, blocks=len(axis.blocks))
    given = (
        model.params,
        columns_by_site(model.config, axis),
        jnp.asarray(axis.block_of_column),
        jnp.asarray(baseline),
    )
    nats = sum(np.asarray(run(rows, *given), np.float64) for rows in counted(measure.batches, "attribution: batches"))
    return rank_by_scores("attribution", axis, nats / measure.text.words.sum())


@partial(jax.jit, static_argnames=("setting", "where", "steps", "blocks"))
def _attribute(
    rows: Rows,
    params: Params,
    columns: Mapping[str, Int[Array | np.ndarray, "_layer _neuron"]],
    block_of_column: Int[Array, " feature"],
    baseline: Float[Array, " feature"],
    *,
    setting: Setting,
    where: Where,
    steps: int,
    blocks: int,
) -> Float[Array, " feature"]:
    """Returns the nats of a batch by neuron, with one layer after another on its way to the baseline."""
    edited = {site: rows.edited(where, decoder=site.startswith(DECODER)) for site in columns}

    def nats(removed: Float[Array, " feature"]) -> Float[Array, ""]:
        edits = edits_of_columns(columns, removed, baseline, edited)
        scored = score_log_probabilities(setting, params, rows, edits, ())
        return -jnp.where(jnp.asarray(rows.sentences) >= 0, scored, 0.0).sum()

    def at(point: tuple[Int[Array, ""], Float[Array, ""]]) -> Float[Array, " feature"]:
        block, share = point
        inside = block_of_column == block
        return jnp.where(inside, jax.grad(nats)(jnp.where(inside, share, 0.0)), 0.0)

    shares = (jnp.arange(steps, dtype=jnp.float32) + 0.5) / steps
    points = (jnp.repeat(jnp.arange(blocks), steps), jnp.tile(shares, blocks))
    return jax.lax.map(at, points).sum(axis=0) / steps
