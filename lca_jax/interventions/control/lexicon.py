"""Says which class of a property a written text shows, by the labels that its words have in a treebank.

A word form speaks for a class if the treebank labels it with that class nearly always; a form with a label now and
then speaks for none. A text shows the class that most of its speaking words do. This reads number, tense, gender or any
other label of words, in whatever language the treebank has, and knows nothing of context: count on it for shares of
many texts, not for one.
"""

from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field

from lca_jax.errors import DataError
from lca_jax.text.corpus import Corpus

_PUNCTUATION = ".,;:!?\"'()[]«»„“”…-"
SURE = 0.9
"""Share of a form's occurrences that must have one label for the form to speak for it."""


@dataclass(frozen=True, kw_only=True)
class Lexicon:
    """The class that each word form speaks for."""

    classes: Mapping[str, str] = field(repr=False)
    """Lower-cased form to its class."""

    @classmethod
    def of(cls, corpus: Corpus, task: str, *, share: float = SURE) -> "Lexicon":
        """Reads the labels of a corpus.

        Args:
            corpus: Labelled words.
            task: The task.
            share: Least share of a form's occurrences, those without a label too, that have its class.

        Raises:
            DataError: The corpus does not have the task, or no form speaks for any class.
        """
        if task not in corpus.labels:
            raise DataError(f"{corpus.name} has no labels of `{task}`, so its words speak for no class of it.")
        counts: dict[str, Counter[str | None]] = defaultdict(Counter)
        for words, labels in zip(corpus.sentences, corpus.labels[task], strict=True):
            for word, label in zip(words, labels, strict=True):
                counts[word.lower()][label] += 1
        classes = {}
        for form, of_form in counts.items():
            label, count = of_form.most_common(1)[0]
            if label is not None and count >= share * of_form.total():
                classes[form] = label
        if not classes:
            raise DataError(f"No word of {corpus.name} has one label of `{task}` in {share:.0%} of its places.")
        return cls(classes=classes)

    def classify(self, text: str) -> str | None:
        """Returns the class that most speaking words of a text show; None without any, or where two are as many."""
        words = (word.strip(_PUNCTUATION).lower() for word in text.split())
        found = Counter(self.classes[word] for word in words if word in self.classes).most_common(2)
        if not found or (len(found) > 1 and found[0][1] == found[1][1]):
            return None
        return found[0][0]
