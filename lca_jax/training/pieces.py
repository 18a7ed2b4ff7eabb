"""The pieces of a translation model that is trained from scratch, and pairs of texts packed into rows.

Both languages share one vocabulary of byte-pair merges (Sennrich et al. 2016), learnt from the texts of both: one
tokenizer reads sources and writes translations.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Array, Bool, Int
from tokenizers import Tokenizer, decoders, pre_tokenizers
from tokenizers.models import BPE
from tokenizers.processors import TemplateProcessing
from tokenizers.trainers import BpeTrainer

from lca_jax.errors import DataError
from lca_jax.hugging_face import PreTrainedTokenizerFast
from lca_jax.models.recurrent.config import LONGEST_WINDOW
from lca_jax.models.stack.stack import Batch

UNKNOWN, END, START = 0, 1, 2
"""Numbers of unknown characters, of the mark after every text, and of the one before a translation."""
_MARKS = ["<unknown>", "<end>", "<start>"]


class PairRows(NamedTuple):
    """Packed rows of sources and of translations, the windows of a pair with the same number in the same row."""

    source: Batch
    target: Batch
    """Begins with the start mark."""
    after: Int[Array | np.ndarray, "row slot"]
    """The piece after every slot of the target."""
    counted: Bool[Array | np.ndarray, "row slot"]
    """Whether the slot predicts one."""


def learn_pieces(texts: Sequence[str], size: int) -> PreTrainedTokenizerFast:
    """Learns a vocabulary from texts, and returns its tokenizer, which ends every text with the end mark.

    Args:
        texts: The texts of both languages.
        size: Number of pieces, marks and single characters included.

    Raises:
        DataError: There is no text.
    """
    if not any(text.strip() for text in texts):
        raise DataError("A vocabulary is learnt from texts, and there is none.")
    backend = Tokenizer(BPE(unk_token=_MARKS[UNKNOWN]))
    backend.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="always")
    backend.decoder = decoders.Metaspace(prepend_scheme="always")
    trainer = BpeTrainer(vocab_size=size, special_tokens=_MARKS, show_progress=False)
    backend.train_from_iterator(texts, trainer)
    backend.post_processor = TemplateProcessing(single="$A <end>", special_tokens=[(_MARKS[END], END)])
    return PreTrainedTokenizerFast(
        tokenizer_object=backend,
        unk_token=_MARKS[UNKNOWN],
        eos_token=_MARKS[END],
        bos_token=_MARKS[START],
        model_max_length=LONGEST_WINDOW,
        clean_up_tokenization_spaces=False,
    )


def pack_pairs(
    sources: Sequence[Sequence[int]], targets: Sequence[Sequence[int]], row_length: int
) -> tuple[PairRows, int]:
    """Packs pairs into rows, longest first, each into the first row that has room on both sides.

    Args:
        sources: Pieces of each source, with its end mark.
        targets: Pieces of each translation, with its end mark.
        row_length: Number of slots in a row, on either side.

    Returns:
        The rows, and the number of pairs that are longer than a row and were left out.
    """
    sizes = np.array([(len(source), len(target)) for source, target in zip(sources, targets, strict=True)], np.int64)
    sizes = sizes.reshape(-1, 2)
    order = np.argsort(-sizes.max(axis=1, initial=0), kind="stable")
    order = order[sizes[order].max(axis=1, initial=0) <= row_length]
    free, windows = np.full((len(order), 2), row_length), np.zeros(len(order), np.int32)
    arrays = np.zeros((7, len(order), row_length), np.int32)
    for pair in order.tolist():
        row = int(np.argmax((free >= sizes[pair]).all(axis=1)))
        windows[row] += 1
        for first, pieces in ((0, sources[pair]), (3, [START, *targets[pair][:-1]])):
            slot = row_length - int(free[row, int(first > 0)])
            own = slice(slot, slot + len(pieces))
            arrays[first, row, own], arrays[first + 1, row, own] = pieces, np.arange(len(pieces))
            arrays[first + 2, row, own] = windows[row]
        arrays[6, row, own] = targets[pair]
        free[row] -= sizes[pair]
    arrays = arrays[:, : int((windows > 0).sum())]
    rows = PairRows(Batch(*arrays[:3]), Batch(*arrays[3:6]), arrays[6], arrays[5] > 0)
    return rows, len(sizes) - len(order)
