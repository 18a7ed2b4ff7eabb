"""Texts that a model writes: a causal model continues a prompt, an encoder-decoder answers a source.

The prompt (or the source, then the decoder's first pieces) goes through the stack at once; after that, every step reads
one piece a row and what the layers computed for the pieces before (`memory`). Edits are applied at every step. All of
it is one pure function that compiles once for a shape of prompts and can be mapped over edits with `jax.vmap`.

A step costs two operations for every matrix element and row, and reads all weights once: with few rows it is bound by
memory (weights and cache), so many rows cost little more than one.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Float, Int

from lca_jax.errors import ModelError, SettingsError
from lca_jax.hugging_face import PreTrainedTokenizer, PreTrainedTokenizerFast
from lca_jax.models.stack.config import StackConfig
from lca_jax.models.stack.memory import Cache, Memory, empty_cache
from lca_jax.models.stack.stack import Batch, Params, Stack
from lca_jax.models.stack.taps import Edit, Taps, decoder_part
from lca_jax.models.writing.search import NOTHING, GeneratedPieces, search_singly, search_with_beams

_SLOTS = 16
"""Prompts are padded to a multiple of this many slots."""


@dataclass(frozen=True, kw_only=True)
class TextRules:
    """How texts of a model begin and end, as its `generation_config.json` says."""

    start: tuple[int, ...] = ()
    """First pieces of the decoder in an encoder-decoder: its start, and the language where the model has several."""
    ends: tuple[int, ...] = ()
    """Pieces that end a text."""
    never: tuple[int, ...] = ()
    """Pieces that are never chosen."""


@dataclass(frozen=True, kw_only=True)
class Search:
    """How the pieces of a text are chosen, and how many there may be."""

    longest: int = 64
    """Maximum number of generated pieces, including the end piece."""
    beams: int = 1
    """Number of texts that are followed at a time; 1 takes the most likely piece at each step."""
    length_penalty: float = 1.0
    """With beams, texts are compared by log p / pieces^length_penalty."""

    def __post_init__(self) -> None:
        if self.longest < 1 or self.beams < 1:
            raise SettingsError(f"`longest` and `beams` must be at least 1, got {self.longest} and {self.beams}.")


@dataclass(frozen=True, kw_only=True)
class Generation:
    """One text that a model wrote."""

    text: str
    """The text; that of a causal model begins with its prompt."""
    pieces: tuple[int, ...]
    """The generated pieces, including the end piece."""
    score: float
    """Sum of their log probabilities; with beams divided by their number to the length penalty."""


def write_pieces(
    graph: nnx.GraphDef[Stack],
    params: Params,
    prompts: Batch,
    edits: Mapping[str, Edit] | None = None,
    *,
    rules: TextRules,
    search: Search,
) -> GeneratedPieces:
    """Runs prompts, one window a row that begins in its first slot, and searches for the pieces that follow.

    Args:
        graph: The module graph of `stack.build`.
        params: Its parameters.
        prompts: Prompts of a causal model, sources of an encoder-decoder.
        edits: Site to edit; the prompt is edited too.
        rules: How texts begin and end.
        search: How pieces are chosen.

    Raises:
        ModelError: The model has no head, is not causal, or its windows are too short for prompt and text.
    """
    writer = _Writer(nnx.merge(graph, params), jax.tree.map(jnp.asarray, prompts), edits or {}, rules)
    check_writer(writer.config, slots=writer.texts.shape[1], search=search)
    rows, slots = writer.texts.shape
    # Padding after a prompt is stored at places that the text overwrites before any piece can see them.
    positions = jnp.broadcast_to(jnp.arange(slots, dtype=jnp.int32), (rows, slots))
    cache = empty_cache(writer.config, rows=rows, places=slots + search.longest)
    states, cache = writer.run(cache, writer.texts, positions)
    last = jnp.take_along_axis(states, (writer.lengths - 1)[:, None, None], axis=1)
    logits = writer.stack.logits(last)[:, 0]
    settings = {"longest": search.longest, "ends": rules.ends, "never": rules.never}
    if search.beams == 1:
        return search_singly(writer.step, cache, logits, writer.lengths, **settings)
    settings |= {"beams": search.beams, "length_penalty": search.length_penalty}
    return search_with_beams(writer.step, cache, logits, writer.lengths, **settings)


class _Writer:
    """The stack that writes, with the beginnings of the texts and what the stack reads while it writes."""

    def __init__(self, stack: Stack, prompts: Batch, edits: Mapping[str, Edit], rules: TextRules) -> None:
        self.stack, self.prompts = stack, prompts
        self.config = (stack.decoder or stack).config
        taps = Taps(edits, {})
        if stack.decoder is None:
            self.taps, self.source = taps, None
            self.texts = jnp.asarray(prompts.piece_ids)
            self.lengths = (jnp.asarray(prompts.segments) > 0).sum(axis=1, dtype=jnp.int32)
        else:
            self.taps = Taps(decoder_part(edits), {})
            self.source = stack(prompts, layers=stack.config.layers, taps=taps)
            rows = prompts.piece_ids.shape[0]
            self.texts = jnp.tile(jnp.asarray(rules.start, jnp.int32), (rows, 1))
            self.lengths = jnp.full(rows, len(rules.start), jnp.int32)

    def run(
        self, cache: Cache, texts: Int[Array, "row_beam slot"], positions: Int[Array, "row_beam slot"]
    ) -> tuple[Float[Array, "row_beam slot neuron"], Cache]:
        """Returns the last hidden states of new pieces, and the cache with them added."""
        memory = Memory(Cache(text=dict(cache["text"]), encoder=dict(cache["encoder"])), positions)
        batch, layers = Batch(texts, positions, jnp.ones_like(texts)), self.config.layers
        taps = self.taps.at(positions)
        if self.source is None:
            states = self.stack(batch, layers=layers, taps=taps, memory=memory)
        else:
            beams = len(texts) // len(self.texts)
            prompts, source = jax.tree.map(lambda part: jnp.repeat(part, beams, axis=0), (self.prompts, self.source))
            states = self.stack.decode(batch, prompts, source, layers=layers, taps=taps, memory=memory)
        assert memory.cache is not None
        return states, memory.cache

    def step(
        self, cache: Cache, newest: Int[Array, " row_beam"], positions: Int[Array, " row_beam"]
    ) -> tuple[Float[Array, "row_beam vocabulary"], Cache]:
        """Returns the logits after one more piece in each row, and the cache with it added."""
        states, cache = self.run(cache, newest[:, None], positions[:, None])
        return self.stack.logits(states)[:, 0], cache


def check_writer(config: StackConfig, *, slots: int, search: Search) -> None:
    """Checks that a stack can write texts of this length.

    Raises:
        ModelError: It has no head, its attention is not causal, or its windows are too short.
    """
    if config.head is None:
        raise ModelError("A model writes with its head. Load it with head=True.")
    if not config.attention.causal:
        raise ModelError(f"A {config.family!r} model cannot write texts: its pieces see the pieces after them.")
    if slots < 1:
        raise ModelError("A text must begin with at least one piece: give a prompt, or `start` pieces for the decoder.")
    if slots + search.longest - 1 > config.longest_window:
        raise ModelError(
            f"Prompts of {slots} slots and texts of {search.longest} pieces do not fit into the model's windows of "
            f"{config.longest_window}. Give shorter prompts or a smaller `longest`."
        )


def write_texts(
    texts: Sequence[str],
    tokenizer: PreTrainedTokenizerFast | PreTrainedTokenizer,
    run: Callable[[Batch], GeneratedPieces],
    *,
    longest_prompt: int,
    rows: int,
    with_prompt: bool,
) -> list[Generation]:
    """Runs texts in batches of few shapes, sorted by length, and decodes the generated pieces.

    Args:
        texts: Prompts or sources.
        tokenizer: The model's tokenizer.
        run: `write_pieces`, compiled, with everything else given.
        longest_prompt: Maximum number of pieces in a prompt.
        rows: Number of texts that are computed together.
        with_prompt: Whether a generated text begins with its prompt.

    Raises:
        ModelError: A text has no piece, or too many.
    """
    prompts = [np.asarray(ids, np.int32) for ids in tokenizer(list(texts))["input_ids"]] if texts else []
    for number, prompt in enumerate(prompts):
        if not 0 < len(prompt) <= longest_prompt:
            raise ModelError(
                f"A prompt or source must have 1 to {longest_prompt} pieces, text {number} has {len(prompt)}: "
                f"{texts[number][:60]!r}."
            )
    order = sorted(range(len(prompts)), key=lambda number: len(prompts[number]))
    rows = min(rows, len(order))
    generations: dict[int, Generation] = {}
    for first in range(0, len(order), rows or 1):
        chosen = order[first : first + rows]
        # The last batch is filled up with copies of its first text, which end when that one does.
        batch = _stack_prompts([prompts[number] for number in chosen + chosen[:1] * (rows - len(chosen))])
        generated = run(batch)
        for number, row, score in zip(chosen, np.asarray(generated.pieces), np.asarray(generated.scores), strict=False):
            pieces = tuple(int(piece) for piece in row if piece != NOTHING)
            whole = [*(prompts[number].tolist() if with_prompt else ()), *pieces]
            text = str(tokenizer.decode(whole, skip_special_tokens=True))
            generations[number] = Generation(text=text, pieces=pieces, score=float(score))
    return [generations[number] for number in range(len(prompts))]


def _stack_prompts(prompts: Sequence[Int[np.ndarray, "_piece"]]) -> Batch:
    """Puts one prompt in each row; the number of slots is a multiple of `_SLOTS`, so that shapes are few."""
    lengths = np.array([len(prompt) for prompt in prompts])
    slots = -(-int(lengths.max()) // _SLOTS) * _SLOTS
    places = np.broadcast_to(np.arange(slots, dtype=np.int32), (len(prompts), slots))
    ids = np.stack([np.pad(prompt, (0, slots - len(prompt))) for prompt in prompts])
    return Batch(ids, places, (places < lengths[:, None]).astype(np.int32))
