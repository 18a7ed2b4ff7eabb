"""Texts that a causal model draws, and how likely it finds given ones, for many prompts that begin alike.

The pieces that all prompts of a call share are run once. Prompts are sorted by length and computed in batches of few
shapes, so that a call compiles a handful of programs however long its prompts are.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float32, Int32

from lca_jax.errors import ModelError, SettingsError
from lca_jax.models.model import Model
from lca_jax.models.writing.continuing import Beginnings, Draws, read_common, score_after, write_after
from lca_jax.models.writing.generation import Search, check_writer
from lca_jax.models.writing.sampling import Sampling
from lca_jax.models.writing.search import NOTHING
from lca_jax.models.writing.stops import cut_at_stop, stop_table

_COMMON = 16
"""Common beginnings are cut to a multiple of this many pieces."""
_FEWEST = 16
"""Fewest slots of own pieces; more are padded to a power of two."""

_read_common = jax.jit(read_common, static_argnums=0)
_write_after = jax.jit(write_after, static_argnums=0, static_argnames=("samples", "longest", "ends", "never"))
_score_after = jax.jit(score_after, static_argnums=0)


@dataclass(frozen=True, kw_only=True)
class Continuation:
    """What a model wrote after a prompt."""

    text: str
    """The text without the prompt, up to its stop text."""
    pieces: tuple[int, ...]
    """The pieces that were written, the stop or end included."""
    log_probability: float
    """Sum of their log probabilities, at temperature 1 and among all pieces."""


def write_samples(
    model: Model,
    prompts: Sequence[str],
    *,
    sampling: Sampling | None = None,
    samples: int = 1,
    seed: int = 0,
    rows: int = 32,
) -> list[list[Continuation]]:
    """Draws continuations of prompts from a causal model.

    The same seed draws the same texts, however many prompts are computed together. The pieces that all prompts share at
    their beginning are run once; a further sample of a prompt costs its own pieces only.

    Args:
        model: A causal model, loaded with its head.
        prompts: The prompts.
        sampling: Temperature, set of likeliest pieces, length and stop texts.
        samples: Number of continuations of each prompt.
        seed: Seed of the draws.
        rows: Number of continuations that are computed together.

    Returns:
        The continuations of every prompt, in the order of the prompts.

    Raises:
        SettingsError: A number is below 1.
        ModelError: The model has no head, is not causal, or its windows are too short for a prompt and its text; or a
            prompt has no piece.
    """
    sampling = sampling or Sampling()
    if samples < 1 or rows < 1:
        raise SettingsError(f"`samples` and `rows` must be at least 1, got {samples} and {rows}.")
    ids = _pieces_of(model, prompts, room=sampling.longest)
    vocabulary = model.config.embedding.vocabulary
    stops = jnp.asarray(stop_table(model.tokenizer, sampling.stops, vocabulary)) if sampling.stops else None
    run = partial(
        _write_after, model.graph, model.params, stops=stops, samples=samples, longest=sampling.longest,
        ends=model.rules.ends, never=model.rules.never,
    )  # fmt: skip
    written: dict[int, list[Continuation]] = {}
    for batch in _batches(model, ids, rows=max(1, rows // samples)):
        generated = run(begun=batch.begun, draws=_draws(sampling, batch.numbers, samples=samples, seed=seed))
        pieces = np.asarray(generated.pieces).reshape(-1, samples, sampling.longest)
        scores = np.asarray(generated.scores).reshape(-1, samples)
        for row in range(batch.own):
            drawn = zip(pieces[row], scores[row], strict=True)
            written[int(batch.numbers[row])] = [_continuation(model, sampling, *one) for one in drawn]
    return [written[number] for number in range(len(prompts))]


def continuation_log_probabilities(
    model: Model, prompts: Sequence[str], continuations: Sequence[str], *, rows: int = 32
) -> Float32[np.ndarray, "prompt continuation"]:
    """Returns how likely a causal model finds each continuation after each prompt.

    A continuation is cut into pieces for itself, so it begins with a space where a word begins. What all prompts begin
    with is run once, the rest of a prompt once for every length of continuations; one piece costs nothing more.

    Args:
        model: A causal model, loaded with its head.
        prompts: The prompts.
        continuations: Texts that may follow.
        rows: Number of prompts that are computed together.

    Returns:
        Natural logarithms: the sum over the pieces of the continuation.

    Raises:
        SettingsError: A continuation has no piece.
        ModelError: As in `write_samples`.
    """
    given = [_own_pieces(model, text) for text in continuations]
    if empty := [text for text, pieces in zip(continuations, given, strict=True) if not len(pieces)]:
        raise SettingsError(f"A continuation must have at least one piece, got {empty[0]!r}.")
    lengths = np.array([len(pieces) for pieces in given], np.int32)
    longest = int(lengths.max(initial=1))
    ids = _pieces_of(model, prompts, room=longest)
    scores = np.zeros((len(prompts), len(given)), np.float32)
    # Continuations of one length run together, so that short ones cost no more than their pieces.
    of_length = [np.flatnonzero(lengths == length) for length in np.unique(lengths)]
    tables = [(chosen, jnp.asarray(np.stack([given[number] for number in chosen]))) for chosen in of_length]
    for batch in _batches(model, ids, rows=rows):
        for chosen, table in tables:
            found = _score_after(model.graph, model.params, batch.begun, table)
            scores[np.ix_(batch.numbers[: batch.own], chosen)] = np.asarray(found)[: batch.own]
    return scores


class _Batch(NamedTuple):
    """Prompts that are computed together; the last batch is filled up with copies of its first prompt."""

    begun: Beginnings
    numbers: Int32[np.ndarray, " row"]
    own: int
    """Number of rows that are no copies."""


def _pieces_of(model: Model, prompts: Sequence[str], *, room: int) -> list[Int32[np.ndarray, "_piece"]]:
    """Returns the pieces of each prompt, checked to leave room for what follows."""
    model.check_head()
    if model.config.decoder is not None:
        raise ModelError(f"{model.name} answers sources and does not continue prompts: use `Model.write`.")
    check_writer(model.config, slots=1, search=Search(longest=room))
    longest = min(model.max_pieces, model.config.longest_window - room)
    ids = (
        [np.asarray(of_prompt, np.int32) for of_prompt in model.tokenizer(list(prompts))["input_ids"]]
        if prompts
        else []
    )
    for number, of_prompt in enumerate(ids):
        if not 0 < len(of_prompt) <= longest:
            raise ModelError(
                f"A prompt must have 1 to {longest} pieces, prompt {number} has {len(of_prompt)}: "
                f"{prompts[number][:60]!r}."
            )
    return ids


def _own_pieces(model: Model, text: str) -> Int32[np.ndarray, "_piece"]:
    return np.asarray(model.tokenizer(text, add_special_tokens=False)["input_ids"], np.int32)


def _batches(model: Model, ids: Sequence[Int32[np.ndarray, "_piece"]], *, rows: int) -> Iterator[_Batch]:
    """Yields the prompts in batches of few shapes, sorted by length, after their common beginning."""
    if not ids:
        return
    shared = _count_common(ids) // _COMMON * _COMMON
    common = _read_common(model.graph, model.params, jnp.asarray(ids[0][:shared]))
    order = sorted(range(len(ids)), key=lambda number: len(ids[number]))
    rows = min(rows, len(order))
    for first in range(0, len(order), rows):
        numbers = order[first : first + rows]
        filled = np.array(numbers + numbers[:1] * (rows - len(numbers)), np.int32)
        own = [ids[number][shared:] for number in filled]
        lengths = np.array([len(pieces) for pieces in own], np.int32)
        slots = max(_FEWEST, 1 << (int(lengths.max()) - 1).bit_length())
        # Powers of two must not lead out of the model's windows.
        slots = max(int(lengths.max()), min(slots, model.config.longest_window - shared))
        table = np.stack([np.pad(pieces, (0, slots - len(pieces))) for pieces in own])
        yield _Batch(Beginnings(common, jnp.asarray(table), jnp.asarray(lengths)), filled, len(numbers))


def _count_common(ids: Sequence[Int32[np.ndarray, "_piece"]]) -> int:
    """Returns how many pieces all prompts begin with, leaving each at least one of its own."""
    first, *others = ids
    count = min(map(len, ids)) - 1
    for other in others:
        count = min(count, int(np.argmin(np.append(first[:count] == other[:count], False))))
    return count


def _draws(sampling: Sampling, numbers: Int32[np.ndarray, " row"], *, samples: int, seed: int) -> Draws | None:
    if sampling.temperature == 0:
        return None
    of_text = jax.vmap(partial(jax.random.fold_in, jax.random.key(seed)))(jnp.asarray(numbers))
    keys = jax.vmap(lambda key: jax.vmap(partial(jax.random.fold_in, key))(jnp.arange(samples)))(of_text)
    return Draws(keys.reshape(-1), jnp.float32(sampling.temperature), jnp.float32(sampling.top_p))


def _continuation(
    model: Model, sampling: Sampling, row: Int32[np.ndarray, "_piece"], score: np.float32
) -> Continuation:
    pieces = tuple(int(piece) for piece in row if piece != NOTHING)
    text = str(model.tokenizer.decode([*pieces], skip_special_tokens=True))
    return Continuation(text=cut_at_stop(text, sampling.stops), pieces=pieces, log_probability=float(score))
