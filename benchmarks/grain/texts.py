"""The texts of the experiment: Multi30k captions for training and ablation, UD treebanks for probes.

Everything is lower-cased and split into words and punctuation, for the models, for BLEU and for the treebanks alike.
"""

import gzip
import re
from collections.abc import Sequence
from pathlib import Path

from lca_jax.text.conllu import read_conllu
from lca_jax.text.corpus import Corpus

TASKS = ("upos", "feats:Number", "position")
"""Properties that are probed; `position` says whether a word is in the first, middle or last third of its sentence."""
_THIRDS = ("begin", "middle", "end")


def read_words(folder: Path, part: str, language: str, count: int | None) -> list[list[str]]:
    """Returns the first captions of a part of Multi30k, as lower-cased words."""
    with gzip.open(folder / "mt" / "multi30k" / f"{part}.{language}.gz", "rt", encoding="utf-8") as lines:
        return [re.findall(r"\w+|[^\w\s]", line.lower()) for line in lines][:count]


def read_pairs(folder: Path, part: str, count: int | None) -> list[tuple[str, str]]:
    """Returns the first German and English captions of a part of Multi30k, as lower-cased words with spaces between."""
    german, english = (read_words(folder, part, language, count) for language in ("de", "en"))
    return [(" ".join(source), " ".join(target)) for source, target in zip(german, english, strict=True)]


def read_treebank(folder: Path, name: str, words: int, seed: int) -> Corpus:
    """Returns sentences of a treebank, lower-cased, with the labels of `TASKS`."""
    corpus = read_conllu(folder / "ud" / f"{name}.conllu.gz", tasks=TASKS[:2]).take_words(words, seed=seed)
    labels: dict[str, list[list[str | None]]] = {
        task: [list(of_sentence) for of_sentence in corpus.labels[task]] for task in TASKS[:2]
    }
    labels["position"] = [list(position_labels(sentence)) for sentence in corpus.sentences]
    sentences = [[word.lower() for word in sentence] for sentence in corpus.sentences]
    return Corpus.from_words(sentences, labels, name=name)


def position_labels(sentence: Sequence[str]) -> list[str]:
    """Returns for each word in which third of its sentence it is."""
    return [_THIRDS[3 * place // len(sentence)] for place in range(len(sentence))]
