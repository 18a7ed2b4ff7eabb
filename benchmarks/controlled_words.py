"""The properties that `benchmarks.control` changes: which English words have them, and how Portuguese texts show them.

Words of a treebank are labelled by its own columns:

- `tense`: `Past` or `Pres`, the Tense of finite verbs and auxiliaries;
- `number`: `Sing` or `Plur`, the Number of nouns;
- `gender`: `Masc` or `Fem`, the Gender of pronouns (he, him, his; she, her);
- `polarity`: `Neg` or `Pos` of verbs and auxiliaries. UD marks the negator alone; a verb is `Neg` if a word with
  Polarity=Neg depends on it, an auxiliary or copula if one depends on its head.

Texts without a treebank get the labels of word forms that the treebank gives one class in nine of ten places; in their
negated sentences every verb is `Neg`.

A Portuguese text shows the tense of most of its verbs, the number of most of its nouns, determiners and adjectives and
the gender of most of its third-person pronouns. It is `Neg` if it has a negator, otherwise `Pos`. Forms are those of a
Portuguese treebank, but for the pronouns. Two texts are otherwise the same if they have the same stems one by one:
the lemma that the treebank gives a form, or else its first three letters; negators and third-person pronouns left away.
"""

import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from lca_jax.errors import DataError
from lca_jax.interventions.control.answers import Classify, Lemmas
from lca_jax.interventions.control.lexicon import Lexicon
from lca_jax.text.conllu import read_conllu
from lca_jax.text.corpus import Corpus

CLASSES = {"tense": ("Pres", "Past"), "number": ("Sing", "Plur"), "gender": ("Masc", "Fem"), "polarity": ("Pos", "Neg")}
"""The two classes of every property."""
_ENGLISH = ("upos", "head", "deprel", "feats:Tense", "feats:VerbForm", "feats:Number", "feats:Gender", "feats:Polarity")
_PORTUGUESE = ("upos", "lemma", "feats:Tense", "feats:Number", "feats:Polarity")
_PRONOUNS = {"Masc": "ele eles dele deles nele neles", "Fem": "ela elas dela delas nela nelas"}
_WORD = re.compile(r"\w+")
_CLITIC = re.compile(r"(n['\u2019]t|['\u2019]\w+)$")

Labels = list[list[str | None]]


def read_english(path: Path) -> Corpus:
    """Reads an English treebank with the labels of all properties."""
    corpus = read_conllu(path, tasks=_ENGLISH)
    upos, head, _, tense, form, number, gender, polarity = (corpus.labels[task] for task in _ENGLISH)
    columns = {
        "tense": _where(tense, lambda s, w: form[s][w] == "Fin"),
        "number": _where(number, lambda s, w: upos[s][w] == "NOUN"),
        "gender": _where(gender, lambda s, w: upos[s][w] == "PRON"),
        "polarity": [_polarities(*of) for of in zip(upos, head, polarity, strict=True)],
    }
    for name, labels in columns.items():
        known = [[label if label in CLASSES[name] else None for label in of] for of in labels]
        corpus = corpus.with_task(name, known)
    return corpus


def _where(labels: Sequence[Sequence[str | None]], holds: Callable[[int, int], bool]) -> Labels:
    """Keeps the labels of the words, by sentence and place, for which something holds."""
    return [
        [label if holds(sentence, word) else None for word, label in enumerate(of)]
        for sentence, of in enumerate(labels)
    ]


def _polarities(
    upos: Sequence[str | None], head: Sequence[str | None], polarity: Sequence[str | None]
) -> list[str | None]:
    """Returns the polarity of every verb and auxiliary of a sentence."""
    negated = {int(of or 0) for of, value in zip(head, polarity, strict=True) if value == "Neg"}
    owners = {"VERB": range(1, len(upos) + 1), "AUX": [int(of or 0) for of in head]}
    return [
        None if kind not in owners else "Neg" if owners[kind][place] in negated else "Pos"
        for place, kind in enumerate(upos)
    ]


def _negators(corpus: Corpus) -> frozenset[str]:
    classes = Lexicon.of(corpus, "feats:Polarity").classes
    return frozenset(form for form, label in classes.items() if label == "Neg")


def draw_words(corpus: Corpus, tasks: Sequence[str], least: int, *, seed: int) -> Corpus:
    """Returns sentences drawn until every class of some properties has so many words, or all of its words."""
    lacking = Counter({(task, name): least for task in tasks for name in CLASSES[task]})
    taken = []
    for sentence in np.random.default_rng(seed).permutation(corpus.sentence_count).tolist():
        found = Counter((task, label) for task in tasks for label in corpus.labels[task][sentence] if label)
        if any(lacking[one] > 0 for one in found):
            lacking.subtract(found)
            taken.append(sentence)
    return corpus.choose(sorted(taken))


@dataclass(frozen=True, kw_only=True)
class Forms:
    """Labels words by their forms, where there is no treebank."""

    lexicons: dict[str, Lexicon]
    kinds: Lexicon
    negators: frozenset[str]

    @classmethod
    def of(cls, english: Corpus) -> "Forms":
        """Learns the forms of a treebank that `read_english` read."""
        return cls(
            lexicons={task: Lexicon.of(english, task) for task in ("tense", "number", "gender")},
            kinds=Lexicon.of(english, "upos"),
            negators=_negators(english),
        )

    def label(self, lines: Sequence[str], name: str) -> Corpus:
        """Splits lines at spaces and labels the words that show a class of a property."""
        sentences = [line.split() for line in lines]
        corpus = Corpus.from_words(sentences, name=name)
        for task, lexicon in self.lexicons.items():
            corpus = corpus.with_task(task, [[lexicon.classes.get(_bare(word)) for word in of] for of in sentences])
        return corpus.with_task("polarity", [self._polarities(of) for of in sentences])

    def _polarities(self, words: Sequence[str]) -> list[str | None]:
        negated = any(word.lower().strip(".,;:!?\"'") in self.negators or "n't" in word.lower() for word in words)
        verb = [self.kinds.classes.get(_bare(word)) in ("VERB", "AUX") for word in words]
        return [("Neg" if negated else "Pos") if one else None for one in verb]


def _bare(word: str) -> str:
    """Returns a word without punctuation and without what is joined to it, as n't and 's are."""
    return _CLITIC.sub("", word.lower().strip(".,;:!?\"'()"))


def with_class(corpus: Corpus, task: str, label: str, *, least: int = 3, most: int = 12) -> Corpus:
    """Returns the sentences of so many words in which a word has a label."""
    kept = [
        number
        for number, words in enumerate(corpus.sentences)
        if least <= len(words) <= most and label in corpus.labels[task][number]
    ]
    if not kept:
        raise DataError(f"No sentence of {corpus.name} with {least} to {most} words has a word of {task} {label}.")
    return corpus.choose(kept)


@dataclass(frozen=True, kw_only=True)
class Reading:
    """Says which class of a property a Portuguese text shows, and what else it says."""

    classify: Classify
    rest: Lemmas


def read_portuguese(path: Path) -> dict[str, Reading]:
    """Learns from a Portuguese treebank how texts show each property."""
    corpus = read_conllu(path, tasks=_PORTUGUESE)
    upos, number = corpus.labels["upos"], corpus.labels["feats:Number"]
    corpus = corpus.with_task("number", _where(number, lambda s, w: upos[s][w] in ("NOUN", "DET", "ADJ")))
    stems = Lexicon.of(corpus, "lemma", share=0.5).classes
    negators = _negators(corpus)
    pronouns = Lexicon(classes={form: label for label, forms in _PRONOUNS.items() for form in forms.split()})
    left_away = negators | pronouns.classes.keys()

    def words(text: str) -> list[str]:
        return _WORD.findall(text.lower())

    def rest(text: str) -> tuple[str, ...]:
        return tuple(stems.get(word, word[:3]).lower() for word in words(text) if word not in left_away)

    def polarity(text: str) -> str:
        return "Neg" if negators & set(words(text)) else "Pos"

    classify: dict[str, Classify] = {
        "tense": Lexicon.of(corpus, "feats:Tense").classify,
        "number": Lexicon.of(corpus, "number").classify,
        "gender": pronouns.classify,
        "polarity": polarity,
    }
    return {task: Reading(classify=of, rest=rest) for task, of in classify.items()}
