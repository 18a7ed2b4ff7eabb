"""Corpora for the tiny BERT: odd sentences by hand, and drawn words of one to four pieces."""

import numpy as np

from lca_jax.text.corpus import Corpus

ODD = [
    ["مرحبا", "بالعالم"],
    ["日本語", "の", "cat"],
    ["🙂", "👩‍👩‍👧", "cats"],
    ["a\u200bb", "\u200b", "\ufeff", "c"],
    ["x" * 300],
    [],
    ["a", " ", "", "b", "\t", "\xa0", "d"],
    ["cat" + "s" * 30, "the"],
    ["the", "cat" + "s" * 300, "sat"],
    ["cats", "a", "satly"] * 20,
    ["[CLS]", "[MASK]", "##s"],
    ["e\u0301", "é"],
]


def draw_corpus(sentences: int, *, seed: int = 0) -> Corpus:
    """Words of one to four pieces in sentences of nought to ten words."""
    generator = np.random.default_rng(seed)
    stems = [*"abcdefghijklmnopqrstuvwxyz", "the", "cat", "sat"]
    words = [
        [str(generator.choice(stems)) + "s" * int(generator.integers(0, 4)) for _ in range(int(size))]
        for size in generator.integers(0, 11, sentences)
    ]
    return Corpus.from_words(words, {"length": [[str(len(word)) for word in sentence] for sentence in words]})
