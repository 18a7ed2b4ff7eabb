"""Texts that end a text, as an automaton over pieces: the search follows it on the device, one table look-up a step.

A state is the longest end of what was written that begins a stop text; the last state is a whole stop text. A piece
takes a state to the one after all its characters, so stop texts may begin and end inside pieces.
"""

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from jaxtyping import Int32

from lca_jax.errors import SettingsError
from lca_jax.hugging_face import PreTrainedTokenizer, PreTrainedTokenizerFast

_ANCHOR = "a"
"""Pieces are decoded after this text, since some tokenizers drop the space before the first piece."""


@lru_cache(maxsize=8)
def stop_table(
    tokenizer: PreTrainedTokenizerFast | PreTrainedTokenizer, stops: tuple[str, ...], vocabulary: int
) -> Int32[np.ndarray, "state vocabulary"]:
    """Returns the state after each state and piece; state 0 has seen nothing.

    A character that is split over pieces is not seen. Kept for the last few tokenizers and stop texts.

    Args:
        tokenizer: The model's tokenizer.
        stops: Texts that end a text.
        vocabulary: Number of pieces of the model; those that the tokenizer does not have are empty.

    Raises:
        SettingsError: A stop text is empty.
    """
    if not all(stops):
        raise SettingsError(f"A stop text must have at least one character, got {stops}.")
    beginnings = sorted({stop[:size] for stop in stops for size in range(len(stop))}, key=len)
    end = len(beginnings)
    state_of = {text: state for state, text in enumerate(beginnings)}

    def after(text: str) -> int:
        if any(text.endswith(stop) for stop in stops):
            return end
        return next(state_of[text[start:]] for start in range(len(text) + 1) if text[start:] in state_of)

    letters = {letter: [*(after(text + letter) for text in beginnings), end] for letter in set("".join(stops))}
    nowhere = [*[0] * end, end]
    table = np.tile(np.arange(end + 1, dtype=np.int32)[:, None], (1, vocabulary))
    for piece, text in enumerate(_texts_of_pieces(tokenizer, vocabulary)):
        for letter in text:
            table[:, piece] = np.take(letters.get(letter, nowhere), table[:, piece])
    return table


def cut_at_stop(text: str, stops: Sequence[str]) -> str:
    """Returns what stands before the first stop text."""
    places = [place for stop in stops if (place := text.find(stop)) >= 0]
    return text[: min(places)] if places else text


def _texts_of_pieces(tokenizer: PreTrainedTokenizerFast | PreTrainedTokenizer, vocabulary: int) -> list[str]:
    """Returns the characters that each piece adds to a text; none for special pieces."""
    anchor = list(tokenizer(_ANCHOR, add_special_tokens=False)["input_ids"])
    before = str(tokenizer.decode(anchor))
    known = min(vocabulary, len(tokenizer))
    after = tokenizer.batch_decode([[*anchor, piece] for piece in range(known)])
    special = set(tokenizer.all_special_ids)
    texts = ["" if piece in special else str(text).removeprefix(before) for piece, text in enumerate(after)]
    return texts + [""] * (vocabulary - known)
