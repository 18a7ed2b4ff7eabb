"""A BERT that has `vocab.txt` alone makes the pieces of the original program, in every version that is allowed.

Transformers 5.0.0 made others without a word. The expected pieces follow from the description of BERT's tokenizer
(Devlin et al. 2019, `tokenization.py`: lower case, accents off, punctuation and CJK characters on their own, then the
longest known pieces), and were computed by hand.
"""

from pathlib import Path

import pytest

from lca_jax.models.loading.folders import read_tokenizer
from tests.tiny_bert import write_bert

PIECES = [
    "[PAD]",
    "[UNK]",
    "[CLS]",
    "[SEP]",
    "[MASK]",
    "na",
    "##ive",
    "cafe",
    "##s",
    ",",
    "2",
    "##0",
    "昨",
    "天",
    "!",
    "'",
    "don",
    "t",
]
TEXTS = {
    "naive cafes": ["na", "##ive", "cafe", "##s"],
    "Naïve CAFÉS, 200!": ["na", "##ive", "cafe", "##s", ",", "2", "##0", "##0", "!"],
    "昨天don't": ["昨", "天", "don", "'", "t"],
    "cafe\u0301 unknown": ["cafe", "[UNK]"],
    "a\u00a0cafe\tcafe": ["[UNK]", "cafe", "cafe"],
}


@pytest.mark.parametrize("text", TEXTS)
def test_pieces_are_those_of_the_original_program(text: str, tmp_path: Path) -> None:
    folder = write_bert(tmp_path)
    (folder / "vocab.txt").write_text("\n".join(PIECES) + "\n", encoding="utf-8")
    assert read_tokenizer(folder, vocabulary=len(PIECES)).tokenize(text) == TEXTS[text]
