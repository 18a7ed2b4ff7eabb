"""The search for a text, piece by piece: one text a row, or several beams. Pure, under one `while_loop`.

Beams follow the search of transformers, so that both find the same texts: among the best continuations of all beams,
those that end become finished texts, with a score of log p / pieces^length_penalty; the others are continued. A row is
closed once its best running beam, scored at its present length, is no better than the worst of its finished texts. When
all rows are closed, or at the longest length, the best finished text is returned.

An iteration costs one step of the model for row · beam pieces, and for beams a copy of the cache, since a beam may
continue the text of another one.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from lca_jax.models.stack.memory import Cache

NOTHING = -1
"""Stands in all places after the end of a text."""
_NEVER = -1e9
"""Added to the score of a text that cannot win any more."""

Step = Callable[[Cache, Int[Array, " row"], Int[Array, " row"]], tuple[Float[Array, "row vocabulary"], Cache]]
"""Takes the cache, the newest piece of every row and its position; returns the logits of the next piece and the cache
with the newest piece added."""


Choose = Callable[[Float[Array, "row vocabulary"], Int[Array, ""]], Int[Array, " row"]]
"""Takes the log probabilities of the next piece and its number in the text, from 0; returns a piece for each row."""


class GeneratedPieces(NamedTuple):
    """The generated text of every row."""

    pieces: Int[Array, "row piece"]
    """The pieces, including the end piece; then `NOTHING`."""
    scores: Float[Array, " row"]
    """Sum of the pieces' log probabilities; divided by their number to the length penalty where beams were used."""


class _Single(NamedTuple):
    """State of the search for one text a row."""

    length: Int[Array, ""]
    """Number of pieces chosen so far in every row."""
    newest: Int[Array, " row"]
    """The last of them."""
    generated: GeneratedPieces
    seen: Int[Array, " row"]
    """How much of a stop text the last pieces hold: a state of `stops`."""
    ended: Bool[Array, " row"]
    """Whether a row's text has ended."""
    cache: Cache


def take_likeliest(chances: Float[Array, "row vocabulary"], number: Int[Array, ""]) -> Int[Array, " row"]:  # noqa: ARG001
    """Chooses the most likely piece."""
    return jnp.argmax(chances, axis=1).astype(jnp.int32)


def search_singly(
    step: Step,
    cache: Cache,
    logits: Float[Array, "row vocabulary"],
    next_position: Int[Array, " row"],
    *,
    choose: Choose = take_likeliest,
    longest: int,
    ends: Sequence[int],
    never: Sequence[int],
    stops: Int[Array, "state vocabulary"] | None = None,
) -> GeneratedPieces:
    """Chooses one piece a row at each step.

    Args:
        step: Runs the model for one piece in each row.
        cache: What the layers computed for the prompts.
        logits: Logits of the first piece.
        next_position: Position of that piece.
        choose: Chooses the piece.
        longest: Maximum number of pieces in a text.
        ends: Pieces that end a text.
        never: Pieces that are never chosen.
        stops: The automaton of texts that end a text (`stops.stop_table`); its last state is the end.
    """
    rows = logits.shape[0]

    def extend(state: _Single, logits: Float[Array, "row vocabulary"]) -> _Single:
        chances = _chances(logits, never)
        newest = choose(chances, state.length)
        gain = jnp.take_along_axis(chances, newest[:, None], axis=1)[:, 0]
        pieces = state.generated.pieces.at[:, state.length].set(jnp.where(state.ended, NOTHING, newest))
        scores = state.generated.scores + jnp.where(state.ended, 0.0, gain)
        ended = state.ended | _is_among(newest, ends)
        seen = state.seen
        if stops is not None:
            seen = stops[seen, newest]
            ended = ended | (seen == stops.shape[0] - 1)
        return _Single(state.length + 1, newest, GeneratedPieces(pieces, scores), seen, ended, state.cache)

    def go_on(state: _Single) -> _Single:
        logits, cache = step(state.cache, state.newest, next_position + state.length - 1)
        return extend(state._replace(cache=cache), logits)

    nothing = GeneratedPieces(jnp.full((rows, longest), NOTHING, jnp.int32), jnp.zeros(rows, jnp.float32))
    zeros = jnp.zeros(rows, jnp.int32)
    start = _Single(jnp.int32(0), zeros, nothing, zeros, jnp.zeros(rows, bool), cache)

    def is_open(state: _Single) -> Bool[Array, ""]:
        return (state.length < longest) & ~state.ended.all()

    return jax.lax.while_loop(is_open, go_on, extend(start, logits)).generated


class _Beams(NamedTuple):
    """State of the search with beams; the best text of a row comes first."""

    length: Int[Array, ""]
    """Number of pieces chosen so far in every running text."""
    running: Int[Array, "row beam piece"]
    running_scores: Float[Array, "row beam"]
    finished: Int[Array, "row beam piece"]
    finished_scores: Float[Array, "row beam"]
    is_finished: Bool[Array, "row beam"]
    """Whether this place holds a finished text."""
    open: Bool[Array, " row"]
    """Whether one of a row's running texts may still win."""
    all_end: Bool[Array, ""]
    """Whether all continuations of all rows have ended."""
    cache: Cache
    """Its rows are (row · beam), in the order of `running`."""


def search_with_beams(
    step: Step,
    cache: Cache,
    logits: Float[Array, "row vocabulary"],
    next_position: Int[Array, " row"],
    *,
    beams: int,
    length_penalty: float,
    longest: int,
    ends: Sequence[int],
    never: Sequence[int],
) -> GeneratedPieces:
    """Follows the `beams` most likely texts at a time.

    Args:
        step: Runs the model for one piece in each row of the cache.
        cache: What the layers computed for the prompts.
        logits: Logits of the first piece.
        next_position: Position of that piece.
        beams: Number of texts.
        length_penalty: Exponent of the length; above 0 it favours long texts, below 0 short ones.
        longest: Maximum number of pieces in a text.
        ends: Pieces that end a text.
        never: Pieces that are never chosen.
    """
    rows = logits.shape[0]

    def widen(part: Array) -> Array:
        return jnp.repeat(part, beams, axis=0)

    def expand(state: _Beams, logits: Float[Array, "row_beam vocabulary"]) -> _Beams:
        chances = _chances(logits, never).reshape(rows, beams, -1)
        return _expand_beams(state, chances, length_penalty=length_penalty, longest=longest, ends=ends)

    def go_on(state: _Beams) -> _Beams:
        newest = state.running[:, :, state.length - 1].reshape(-1)
        logits, cache = step(state.cache, newest, widen(next_position) + state.length - 1)
        return expand(state._replace(cache=cache), logits)

    def is_open(state: _Beams) -> Bool[Array, ""]:
        return (state.length < longest) & state.open.any() & ~state.all_end

    nothing = jnp.full((rows, beams, longest), NOTHING, jnp.int32)
    out = jnp.full((rows, beams), _NEVER, jnp.float32)
    start = _Beams(
        length=jnp.int32(0),
        running=nothing,
        running_scores=out.at[:, 0].set(0.0),
        finished=nothing,
        finished_scores=out,
        is_finished=jnp.zeros((rows, beams), bool),
        open=jnp.ones(rows, bool),
        all_end=jnp.asarray(False),
        cache=jax.tree.map(widen, cache),
    )
    last = jax.lax.while_loop(is_open, go_on, expand(start, widen(logits)))
    return GeneratedPieces(last.finished[:, 0], last.finished_scores[:, 0])


def _expand_beams(
    state: _Beams,
    chances: Float[Array, "row beam vocabulary"],
    *,
    length_penalty: float,
    longest: int,
    ends: Sequence[int],
) -> _Beams:
    """Adds one piece to the running texts: the best continuations run on, those that end become finished texts."""
    rows, beams, vocabulary = chances.shape
    candidates = min(max(2, 1 + len(ends)) * beams, beams * vocabulary)
    leading = jnp.arange(candidates)[None, :] < beams
    length = state.length + 1
    chances = chances + state.running_scores[:, :, None]
    scores, places = jax.lax.top_k(chances.reshape(rows, -1), candidates)
    parent, piece = places // vocabulary, (places % vocabulary).astype(jnp.int32)
    texts = _pick(state.running, parent).at[:, :, state.length].set(piece)
    stops = _is_among(piece, ends) | (length >= longest)

    running_scores, chosen = jax.lax.top_k(scores + jnp.where(stops, _NEVER, 0.0), beams)
    out = jnp.where(stops & leading & state.open[:, None], 0.0, _NEVER)
    divisor = length.astype(jnp.float32) ** jnp.float32(length_penalty)
    finished_scores, best = jax.lax.top_k(
        jnp.concatenate([state.finished_scores, scores / divisor + out], axis=1), beams
    )
    is_finished = _pick(jnp.concatenate([state.is_finished, out == 0.0], axis=1), best)
    worst = jnp.where(is_finished, finished_scores.min(axis=1, keepdims=True), _NEVER)
    may_win = (running_scores[:, :1] / divisor > worst).any(axis=1)

    sources = (_pick(parent, chosen) + jnp.arange(rows)[:, None] * beams).reshape(-1)
    text = jax.tree.map(lambda part: part[sources], state.cache["text"])
    return _Beams(
        length=length,
        running=_pick(texts, chosen),
        running_scores=running_scores,
        finished=_pick(jnp.concatenate([state.finished, texts], axis=1), best),
        finished_scores=finished_scores,
        is_finished=is_finished,
        open=state.open & may_win,
        all_end=stops.all(),
        cache=Cache(text=text, encoder=state.cache["encoder"]),
    )


def _chances(logits: Float[Array, "row vocabulary"], never: Sequence[int]) -> Float[Array, "row vocabulary"]:
    """Returns log probabilities; pieces that are never chosen get -inf, and the others keep their values."""
    chances = jax.nn.log_softmax(logits, axis=1)
    return chances.at[:, jnp.asarray(never, jnp.int32)].set(-jnp.inf) if never else chances


def _is_among(pieces: Int[Array, "*place"], ends: Sequence[int]) -> Bool[Array, "*place"]:
    return jnp.isin(pieces, jnp.asarray(tuple(ends), jnp.int32))


def _pick(parts: Array, places: Int[Array, "row place"]) -> Array:
    """Returns for every row the parts at the given places of the second axis."""
    return jax.vmap(lambda part, place: part[place])(parts, places)
