"""Texts whose labels follow from their words, so that a tiny model can learn them."""

from pathlib import Path

import numpy as np

from lca_jax import Corpus

LETTERS = "abcdefgh"


def lettered(count: int, *, seed: int, pairs: bool = False) -> Corpus:
    """Sentences of letters: `has` an `a` or not; every letter is of the first or the second half of them."""
    generator = np.random.default_rng(seed)
    sentences = [list(generator.choice(list(LETTERS), generator.integers(2, 11))) for _ in range(count)]
    sentences = [list(map(str, sentence)) for sentence in sentences]
    return Corpus.from_words(
        sentences,
        {"half": [["first" if word < "e" else "second" for word in sentence] for sentence in sentences]},
        sentence_labels={"has": ["yes" if "a" in sentence else "no" for sentence in sentences]},
        second_starts=[len(sentence) // 2 for sentence in sentences] if pairs else None,
        name="letters",
    )


def write_sentiment(path: Path, count: int, *, seed: int) -> Path:
    """A file with the label `has` and the text in each row."""
    corpus = lettered(count, seed=seed)
    labels = corpus.sentence_labels["has"]
    lines = [f"{label}\t{' '.join(words)}\n" for label, words in zip(labels, corpus.sentences, strict=True)]
    path.write_text("".join(lines), encoding="utf-8")
    return path
