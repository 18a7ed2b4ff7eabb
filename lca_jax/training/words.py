"""The words of a language model that is trained from scratch: numbered by frequency, and packed into rows."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from jaxtyping import Bool, Int32
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import WhitespaceSplit
from tokenizers.processors import TemplateProcessing

from lca_jax.errors import SettingsError
from lca_jax.hugging_face import PreTrainedTokenizerFast
from lca_jax.models.recurrent.config import LONGEST_WINDOW
from lca_jax.models.stack.stack import Batch
from lca_jax.text.packing import PackedRows, pack_windows
from lca_jax.text.windows import Window

UNKNOWN, END = 0, 1
"""Numbers of all words that are not in the vocabulary, and of the mark around sentences."""
_MARKS = ("<unknown>", "<end>")


@dataclass(frozen=True, kw_only=True)
class Vocabulary:
    """The most frequent words of a text, after two marks."""

    words: tuple[str, ...]
    """All words by their numbers."""

    @classmethod
    def of(cls, sentences: Sequence[Sequence[str]], size: int) -> "Vocabulary":
        """Numbers the most frequent words; equally frequent ones by the alphabet.

        Raises:
            SettingsError: `size` leaves no room for a word.
        """
        if size <= len(_MARKS):
            raise SettingsError(f"A vocabulary needs room for a word beside its {len(_MARKS)} marks, got {size}.")
        counts = Counter(word for sentence in sentences for word in sentence)
        ordered = sorted(counts, key=lambda word: (-counts[word], word))
        return cls(words=(*_MARKS, *ordered[: size - len(_MARKS)]))

    def tokenizer(self) -> PreTrainedTokenizerFast:
        """Returns a tokenizer that splits at white space and begins every text with the end mark, as `pack` does."""
        unknown, end = _MARKS
        backend = Tokenizer(WordLevel(dict(self._numbers), unk_token=unknown))
        backend.pre_tokenizer = WhitespaceSplit()
        backend.post_processor = TemplateProcessing(single=f"{end} $A", special_tokens=[(end, END)])
        return PreTrainedTokenizerFast(
            tokenizer_object=backend,
            unk_token=unknown,
            bos_token=end,
            eos_token=end,
            model_max_length=LONGEST_WINDOW,
            clean_up_tokenization_spaces=False,
        )

    @cached_property
    def _numbers(self) -> dict[str, int]:
        return {word: number for number, word in enumerate(self.words)}

    def pack(self, sentences: Sequence[Sequence[str]], row_length: int) -> PackedRows:
        """Packs sentences into rows: each begins with the end mark, so that its first word is predicted too.

        A sentence that is longer than a row is cut, and its parts are sentences of their own.
        """
        windows, room = [], row_length - 1
        for sentence, words in enumerate(sentences):
            numbers = [self._numbers.get(word, UNKNOWN) for word in words]
            for first in range(0, len(numbers), room):
                part = numbers[first : first + room]
                places = np.arange(len(part), dtype=np.int32)
                pieces = np.array([END, *part], np.int32)
                windows.append(Window(sentence, pieces, places + first, places + 1, places + 2))
        offsets = np.cumsum([0, *(len(words) for words in sentences)])[:-1]
        return pack_windows(windows, row_length=row_length, word_offsets=offsets, pad_id=END)


def targets_of(
    pieces: Int32[np.ndarray, "row slot"], segments: Int32[np.ndarray, "row slot"]
) -> tuple[Int32[np.ndarray, "row slot"], Bool[np.ndarray, "row slot"]]:
    """Returns the word after every slot, the end mark after the last word, and whether the slot predicts one."""
    after = np.full_like(pieces, END)
    inside = segments[:, 1:] == segments[:, :-1]
    after[:, :-1] = np.where(inside, pieces[:, 1:], END)
    return after, segments > 0


def batch_of(rows: PackedRows) -> Batch:
    """Returns packed rows as the batch of a stack."""
    return Batch(rows.piece_ids, rows.positions, rows.segments)
