"""The three tunings of `benchmarks.fine_tuning`: their training, dev and test texts.

| tuning | unit | texts |
| --- | --- | --- |
| `sentiment` | sentence | SST-2's own three parts, whole sentences |
| `acceptability` | sentence | both sentences of BLiMP's pairs, `good` or `bad`, each pair in one part; all paradigms |
| `chunks` | word | CoNLL-2000; dev is the last tenth of its training file |

Parts are drawn by the seed 0, the same ones for every tuning: seeds differ by classifier, order and dropout alone.
"""

import gzip
import json
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np

from lca_jax.text.corpus import Corpus
from lca_jax.text.formats import read_corpus
from lca_jax.text.options import TextOptions

_MEASURED_PAIRS = 500
_MEASURED_SENTENCES = 500


class Parts(NamedTuple):
    """The texts of one tuning."""

    train: Corpus
    dev: Corpus
    """Texts on which the best step is chosen."""
    test: Corpus
    """Texts that are only measured."""


def sentiment(folder: Path, limit: int) -> Parts:
    """Reads `sst2-train.tsv.gz`, `sst2-dev.tsv.gz` and `sst2-test.tsv.gz`: a label and a text in each row."""
    options = TextOptions(text_column="2")
    train, dev, test = (
        read_corpus(folder / f"sst2-{part}.tsv.gz", tasks=["sentiment=1"], options=options)
        for part in ("train", "dev", "test")
    )
    return Parts(_drawn(train, limit), dev, test)


def acceptability(file: Path, limit: int) -> Parts:
    """Reads minimal pairs: `sentence_good` and `sentence_bad` in each row of JSON lines."""
    with gzip.open(file, "rt", encoding="utf-8") as lines:
        rows = [json.loads(line) for line in lines]
    order = np.random.default_rng(0).permutation(len(rows))
    measured = min(_MEASURED_PAIRS, len(rows) // 4)
    parts = np.split(order, [measured, 2 * measured])
    dev, test, train = (_judged([rows[number] for number in part]) for part in parts)
    return Parts(train.take_sentences(0, limit), dev, test)


def chunks(folder: Path, limit: int) -> Parts:
    """Reads `train.txt.gz` and `test.txt.gz`: word, part of speech and chunk in each row."""
    train, test = (read_corpus(folder / f"{part}.txt.gz", tasks=["chunk"]) for part in ("train", "test"))
    middle = train.sentence_count * 9 // 10
    dev = train.take_sentences(middle, train.sentence_count)
    measured = (_drawn(part, _MEASURED_SENTENCES) for part in (dev, test))
    return Parts(_drawn(train.take_sentences(0, middle), limit), *measured)


READERS: dict[str, tuple[Callable[[Path, int], Parts], int]] = {
    "acceptability": (acceptability, 3000),
    "chunks": (chunks, 1500),
    "sentiment": (sentiment, 6920),
}
"""By tuning: its reader, and the number of training sentences at most; the dearest tuning comes last."""


def _drawn(corpus: Corpus, limit: int) -> Corpus:
    """Returns so many sentences, drawn by the seed 0, in their order; all where there are no more."""
    order = np.random.default_rng(0).permutation(corpus.sentence_count)[:limit]
    return corpus.choose(sorted(order.tolist()))


def _judged(rows: list[dict[str, str]]) -> Corpus:
    """Returns both sentences of each pair, split into words at spaces and before the last mark."""
    sentences, labels = [], []
    for row in rows:
        for label in ("good", "bad"):
            sentences.append(_words(row[f"sentence_{label}"]))
            labels.append(label)
    return Corpus.from_words(sentences, sentence_labels={"acceptability": labels}, name="pairs")


def _words(text: str) -> list[str]:
    return f"{text[:-1]} {text[-1]}".split() if text[-1] in ".?!" else text.split()
