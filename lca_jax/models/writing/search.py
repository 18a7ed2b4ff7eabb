"""The search for a text, piece by piece: greedy, or with several beams. Pure, under one `while_loop`.

Beams follow the search of transformers, so that both find the same texts: of the best continuations of all beams those
that end are kept as finished, with a score of log p / pieces^length_penalty; the others go on. A row is closed once its
best running beam, scored at its present length, is no better than the worst of its finished ones; when all rows are, or
at the longest length, the best finished text is returned.

An iteration costs one step of the model for row · beam pieces, and for beams a copy of what the layers keep, since a
beam may go on from another one's past.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from lca_jax.models.stack.memory import Kept

NOTHING = -1
"""What stands after the end of a text."""
_NEVER = -1e9
"""Added to the score of what is out of the race."""

Step = Callable[[Kept, Int[Array, " row"], Int[Array, " row"]], tuple[Float[Array, "row vocabulary"], Kept]]
"""From what is kept, the newest piece of every row, and its position to logits of the next piece, and what is kept."""


class Found(NamedTuple):
    """The text that was found for every row."""

    pieces: Int[Array, "row piece"]
    """Its end with it; then `NOTHING`."""
    scores: Float[Array, " row"]
    """Sum of the pieces' log probabilities; divided by their number to the length penalty where beams were used."""


class _Greedy(NamedTuple):
    """Where the greedy search stands."""

    written: Int[Array, ""]
    newest: Int[Array, " row"]
    found: Found
    ended: Bool[Array, " row"]
    kept: Kept


def search_greedily(
    step: Step,
    kept: Kept,
    logits: Float[Array, "row vocabulary"],
    next_position: Int[Array, " row"],
    *,
    longest: int,
    ends: Sequence[int],
    never: Sequence[int],
) -> Found:
    """Takes the likeliest piece each time.

    Args:
        step: One step of the model.
        kept: What the layers keep of the prompts.
        logits: Of the first piece.
        next_position: Where that piece will stand.
        longest: Most pieces of a text.
        ends: Pieces that end a text.
        never: Pieces that are not chosen.
    """
    rows = logits.shape[0]

    def choose(state: _Greedy, logits: Float[Array, "row vocabulary"]) -> _Greedy:
        chances = _chances(logits, never)
        newest = jnp.argmax(chances, axis=1).astype(jnp.int32)
        gain = jnp.take_along_axis(chances, newest[:, None], axis=1)[:, 0]
        pieces = state.found.pieces.at[:, state.written].set(jnp.where(state.ended, NOTHING, newest))
        scores = state.found.scores + jnp.where(state.ended, 0.0, gain)
        ended = state.ended | _is_among(newest, ends)
        return _Greedy(state.written + 1, newest, Found(pieces, scores), ended, state.kept)

    def go_on(state: _Greedy) -> _Greedy:
        logits, kept = step(state.kept, state.newest, next_position + state.written - 1)
        return choose(state._replace(kept=kept), logits)

    nothing = Found(jnp.full((rows, longest), NOTHING, jnp.int32), jnp.zeros(rows, jnp.float32))
    start = _Greedy(jnp.int32(0), jnp.zeros(rows, jnp.int32), nothing, jnp.zeros(rows, bool), kept)
    going = lambda state: (state.written < longest) & ~state.ended.all()  # noqa: E731 - the condition of the loop
    return jax.lax.while_loop(going, go_on, choose(start, logits)).found


class _Beams(NamedTuple):
    """Where the search with beams stands; best first."""

    written: Int[Array, ""]
    running: Int[Array, "row beam piece"]
    running_scores: Float[Array, "row beam"]
    finished: Int[Array, "row beam piece"]
    finished_scores: Float[Array, "row beam"]
    is_finished: Bool[Array, "row beam"]
    """Whether there is a finished text at this place."""
    open: Bool[Array, " row"]
    """Whether a row's running beams may still win."""
    all_end: Bool[Array, ""]
    """Whether no continuation of any row goes on."""
    kept: Kept
    """Rows are (row · beam), in the order of `running`."""


def search_with_beams(
    step: Step,
    kept: Kept,
    logits: Float[Array, "row vocabulary"],
    next_position: Int[Array, " row"],
    *,
    beams: int,
    length_penalty: float,
    longest: int,
    ends: Sequence[int],
    never: Sequence[int],
) -> Found:
    """Follows the likeliest `beams` texts at a time.

    Args:
        step: One step of the model, for rows of `kept`.
        kept: What the layers keep of the prompts.
        logits: Of the first piece.
        next_position: Where that piece will stand.
        beams: How many.
        length_penalty: Above 0 long texts gain, below 0 short ones.
        longest: Most pieces of a text.
        ends: Pieces that end a text.
        never: Pieces that are not chosen.
    """
    rows, vocabulary = logits.shape
    candidates = min(max(2, 1 + len(ends)) * beams, beams * vocabulary)
    leading = jnp.arange(candidates)[None, :] < beams

    def widen(part: Array) -> Array:
        return jnp.repeat(part, beams, axis=0)

    def expand(state: _Beams, logits: Float[Array, "row_beam vocabulary"]) -> _Beams:
        count = state.written + 1
        chances = _chances(logits, never).reshape(rows, beams, vocabulary) + state.running_scores[:, :, None]
        scores, places = jax.lax.top_k(chances.reshape(rows, -1), candidates)
        parent, piece = places // vocabulary, (places % vocabulary).astype(jnp.int32)
        texts = _pick(state.running, parent).at[:, :, state.written].set(piece)
        stops = _is_among(piece, ends) | (count >= longest)

        running_scores, going = jax.lax.top_k(scores + jnp.where(stops, _NEVER, 0.0), beams)
        out = jnp.where(stops & leading & state.open[:, None], 0.0, _NEVER)
        length = count.astype(jnp.float32) ** jnp.float32(length_penalty)
        finished_scores, best = jax.lax.top_k(
            jnp.concatenate([state.finished_scores, scores / length + out], axis=1), beams
        )
        is_finished = _pick(jnp.concatenate([state.is_finished, out == 0.0], axis=1), best)
        worst = jnp.where(is_finished, finished_scores.min(axis=1, keepdims=True), _NEVER)
        may_win = (running_scores[:, :1] / length > worst).any(axis=1)

        sources = (_pick(parent, going) + jnp.arange(rows)[:, None] * beams).reshape(-1)
        own = jax.tree.map(lambda part: part[sources], state.kept["own"])
        return _Beams(
            written=count,
            running=_pick(texts, going),
            running_scores=running_scores,
            finished=_pick(jnp.concatenate([state.finished, texts], axis=1), best),
            finished_scores=finished_scores,
            is_finished=is_finished,
            open=state.open & may_win,
            all_end=stops.all(),
            kept=Kept(own=own, cross=state.kept["cross"]),
        )

    def go_on(state: _Beams) -> _Beams:
        newest = state.running[:, :, state.written - 1].reshape(-1)
        logits, kept = step(state.kept, newest, widen(next_position) + state.written - 1)
        return expand(state._replace(kept=kept), logits)

    nothing = jnp.full((rows, beams, longest), NOTHING, jnp.int32)
    out = jnp.full((rows, beams), _NEVER, jnp.float32)
    start = _Beams(
        written=jnp.int32(0),
        running=nothing,
        running_scores=out.at[:, 0].set(0.0),
        finished=nothing,
        finished_scores=out,
        is_finished=jnp.zeros((rows, beams), bool),
        open=jnp.ones(rows, bool),
        all_end=jnp.asarray(False),
        kept=jax.tree.map(widen, kept),
    )
    going = lambda state: (state.written < longest) & state.open.any() & ~state.all_end  # noqa: E731 - as above
    last = jax.lax.while_loop(going, go_on, expand(start, widen(logits)))
    return Found(last.finished[:, 0], last.finished_scores[:, 0])


def _chances(logits: Float[Array, "row vocabulary"], never: Sequence[int]) -> Float[Array, "row vocabulary"]:
    """Log probabilities; those of pieces never chosen are taken out, not shared among the others."""
    chances = jax.nn.log_softmax(logits, axis=1)
    return chances.at[:, jnp.asarray(never, jnp.int32)].set(-jnp.inf) if never else chances


def _is_among(pieces: Int[Array, "*place"], ends: Sequence[int]) -> Bool[Array, "*place"]:
    return jnp.isin(pieces, jnp.asarray(tuple(ends), jnp.int32))


def _pick(parts: Array, places: Int[Array, "row place"]) -> Array:
    """For every row the parts at some places of the second axis."""
    return jax.vmap(lambda part, place: part[place])(parts, places)
