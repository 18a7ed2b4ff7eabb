"""Divides one corpus into training, dev and test sentences, so that the translations of a sentence stay together.

The part of a sentence depends on its key and the seed alone: on a checksum of both, which is a number in 0..1. So the
sentences of the other corpora do not count, and a language that is added to a study changes the parts of no other. Keys
are

- the `sent_id` of a CoNLL-U file, for parallel treebanks: a sentence and its translations are in one part, and no test
  sentence is the translation of one that was trained on;
- the words of the sentence, elsewhere: a sentence that comes twice is in one part.

Parts have the sizes that were asked for in the mean; of n sentences, a part p differs by about √(n p (1−p)).
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from lca_jax.errors import CorpusError, SettingsError
from lca_jax.machine.checksums import checksum_of
from lca_jax.text.corpus import Corpus
from lca_jax.text.lines import Source, is_blank

_PREFIX = "# sent_id = "


class Division(NamedTuple):
    """The parts of a corpus."""

    train: Corpus
    dev: Corpus
    test: Corpus


def divide_corpus(
    corpus: Corpus,
    *,
    shares: tuple[float, float, float] = (0.7, 0.1, 0.2),
    keys: Sequence[str] | None = None,
    seed: int = 0,
) -> Division:
    """Divides the sentences of a corpus.

    Args:
        corpus: The corpus.
        shares: Shares of the sentences of train, dev and test, each above 0 and at most 1 together; below 1, the others
            are in no part.
        keys: One key a sentence (`sentence_ids`); its words by default.
        seed: Seed of the division.

    Raises:
        SettingsError: A share is out of its range, or there are not as many keys as sentences.
        CorpusError: A part has no sentence.
    """
    if any(share <= 0 for share in shares) or sum(shares) > 1 + 1e-9:
        raise SettingsError(
            f"The shares of train, dev and test must each be above 0 and at most 1 together, got {shares}."
        )
    if keys is None:
        keys = ["\t".join(sentence) for sentence in corpus.sentences]
    if len(keys) != corpus.sentence_count:
        raise SettingsError(f"{corpus.name} has {corpus.sentence_count} sentences, and there are {len(keys)} keys.")
    places = [_place(key, seed) for key in keys]
    parts, low = [], 0.0
    for part, share in zip(Division._fields, shares, strict=True):
        chosen = [number for number, place in enumerate(places) if low <= place < low + share]
        if not chosen:
            raise CorpusError(
                f"{corpus.name} has {corpus.sentence_count} sentences, and none of them came into {part}, which takes "
                f"{share:g} of them. Give more text, or another seed."
            )
        parts.append(replace(corpus.choose(chosen), name=f"{corpus.name} ({part})"))
        low += share
    return Division(*parts)


def sentence_ids(path: Path, *, encoding: str = "utf-8") -> list[str]:
    """Returns the `sent_id` of every sentence of a CoNLL-U file.

    Raises:
        CorpusError: A sentence has none, or two have the same; the message lists the places.
    """
    source, identities = Source.read(path, encoding=encoding), list[str]()
    identity, words = None, 0
    for number, line in enumerate([*source.lines, ""], 1):
        if line.startswith(_PREFIX):
            identity = line.removeprefix(_PREFIX).strip()
        elif not is_blank(line):
            words += not line.startswith("#")
        elif words:
            if not identity:
                source.report(number, "the sentence before this line has no `# sent_id = …`")
            identities.append(identity or "")
            identity, words = None, 0
    for twice in [name for name, count in Counter(identities).items() if name and count > 1]:
        source.report(1, f"{identities.count(twice)} sentences have the sent_id {twice!r}")
    source.refuse_problems()
    return identities


def _place(key: str, seed: int) -> float:
    """Returns a number in 0..1 that key and seed determine."""
    return int(checksum_of(f"{seed}\n{key}".encode(errors="surrogatepass"))[:13], 16) / 16**13
