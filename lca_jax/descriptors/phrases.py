"""Cuts what a generator wrote into short phrases, and leaves out those that say nothing about the text.

A phrase of a prompt's examples is an echo where the text holds none of its words (`Prompt.closed` names those that are
answers); it is left out and counted.
"""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from lca_jax.descriptors.prompts import Prompt

_APART = re.compile(r"[,;|/\n•]+")
_WORDS = re.compile(r"\w[\w'\u2019.-]*", re.UNICODE)
_MOST_WORDS = 4
_SMALL = frozenset(
    [
        "a",
        "an",
        "the",
        "this",
        "that",
        "these",
        "those",
        "it",
        "its",
        "i",
        "me",
        "my",
        "you",
        "your",
        "we",
        "us",
        "our",
        "he",
        "she",
        "they",
        "them",
        "his",
        "her",
        "their",
        "and",
        "or",
        "of",
        "to",
        "in",
        "on",
        "for",
        "with",
        "is",
        "are",
        "was",
        "were",
        "be",
        "been",
        "no",
        "not",
        "n't",
        "so",
        "very",
    ]
)
"""Words that begin or end no phrase, and make none by themselves."""


@dataclass(frozen=True, kw_only=True)
class Phrases:
    """The phrases of every text."""

    of_text: tuple[Mapping[str, float], ...]
    """Phrase to the share of the text's answers that hold it, for every text."""
    left_out: Mapping[str, int]
    """Number of phrases that were left out, by reason."""

    def counts(self) -> Counter[str]:
        """Returns the number of texts of each phrase."""
        return Counter(phrase for phrases in self.of_text for phrase in phrases)


def cut_phrases(
    written: Mapping[str, Sequence[Sequence[str]]], texts: Sequence[str], *, prompts: Sequence[Prompt]
) -> Phrases:
    """Returns the phrases of all answers.

    Args:
        written: Prompt to the answers of every text, as `write_about` returns them.
        texts: The texts.
        prompts: The prompts, whose examples are known.
    """
    left_out: Counter[str] = Counter()
    of_text: list[dict[str, float]] = []
    examples = {prompt.name: _phrases_of_examples(prompt) for prompt in prompts}
    for number, text in enumerate(texts):
        words, found = set(words_of(text)), Counter[str]()
        for name, answers in written.items():
            for answer in answers[number]:
                for phrase in dict.fromkeys(map(normalise, _APART.split(answer))):
                    reason = _reason_against(phrase, words, examples[name])
                    if reason:
                        left_out[reason] += 1
                    else:
                        found[phrase] += 1
        answers_of_text = sum(len(answers[number]) for answers in written.values())
        of_text.append({phrase: count / answers_of_text for phrase, count in sorted(found.items())})
    return Phrases(of_text=tuple(of_text), left_out=dict(left_out))


def normalise(phrase: str) -> str:
    """Returns a phrase in lower case, without marks, and without small words at its ends."""
    words = words_of(phrase)
    while words and words[0] in _SMALL:
        words = words[1:]
    while words and words[-1] in _SMALL:
        words = words[:-1]
    return " ".join(words)


def words_of(text: str) -> list[str]:
    """Returns the words of a text in lower case; marks between words are left out."""
    return [word.strip(".'\u2019-") for word in _WORDS.findall(text.lower())]


def _phrases_of_examples(prompt: Prompt) -> frozenset[str]:
    answers = (normalise(phrase) for _, answer in prompt.examples for phrase in _APART.split(answer))
    return frozenset(answers) - set(map(normalise, prompt.closed))


def _reason_against(phrase: str, words: set[str], examples: frozenset[str]) -> str | None:
    own = phrase.split()
    if not own or phrase.isdigit():
        return "empty"
    if len(own) > _MOST_WORDS:
        return "long"
    if phrase in examples and not words & set(own):
        return "echo"
    return None
