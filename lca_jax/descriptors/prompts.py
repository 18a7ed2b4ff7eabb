"""Prompts that make a model write short phrases about a text: a few examples, the text, and the start of the answer.

A small model continues a list of examples where it does not follow an instruction. The words of the examples leak into
unrelated texts ("hotel", "food"), so a phrase of the examples counts only where the text itself holds one of its words
(`phrases`).
"""

from collections.abc import Sequence
from dataclasses import dataclass

from lca_jax.errors import SettingsError

TEXT, WORD = "{text}", "{word}"


@dataclass(frozen=True, kw_only=True)
class Prompt:
    """A prompt with a place for the text."""

    name: str
    """Short name, for files and tables."""
    examples: tuple[tuple[str, str], ...]
    """Texts and their answers: phrases apart by commas or semicolons."""
    question: str = "Text: {text}\nAnswer:"
    """What stands for each text; it ends where the answer begins. `{word}` is the word that is asked about, in prompts
    for words in context; examples then give `text|word` as their text."""

    closed: tuple[str, ...] = ()
    """Phrases of the examples that are answers of a closed set, such as tones, and so no echoes."""

    def __post_init__(self) -> None:
        if TEXT not in self.question:
            raise SettingsError(f"The question of a prompt must hold {TEXT}, got {self.question!r}.")

    @property
    def asks_of_words(self) -> bool:
        """Whether it asks about a word in its text."""
        return WORD in self.question

    def fill(self, text: str, word: str | None = None) -> str:
        """Returns the prompt for one text; its line breaks become spaces."""
        told = [f"{self._ask(*_split(example))} {answer}" for example, answer in self.examples]
        return "\n".join([*told, self._ask(text, word)])

    def _ask(self, text: str, word: str | None) -> str:
        if self.asks_of_words and word is None:
            raise SettingsError(f"The prompt {self.name!r} asks about words: give the words beside the texts.")
        return self.question.replace(WORD, word or "").replace(TEXT, " ".join(text.split()))


def _split(example: str) -> tuple[str, str | None]:
    text, _, word = example.partition("|")
    return text, word or None


TOPICS = Prompt(
    name="topics",
    examples=(
        ("The soup was cold and the waiter ignored us.", "restaurant; food, service; negative"),
        ("I ran ten miles in these shoes and my feet feel great.", "running shoes; comfort; positive"),
        ("We paid for it in April and are still waiting for a reply.", "company; payment, customer service; negative"),
        ("The hotel is near the sea, and every room has a lovely view.", "hotel; location, view; positive"),
    ),
    closed=("positive", "negative"),
)
"""What a text is about, which of its parts it speaks of, and its tone."""
THINGS = Prompt(
    name="things",
    examples=(
        ("He plays the piano every evening, mostly Chopin.", "music, piano, evening"),
        ("The train from Berlin was late because of the snow.", "train, travel, weather, delay"),
        ("She sold the old car and bought a bicycle.", "car, bicycle, selling"),
    ),
    question="Sentence: {text}\nKeywords:",
)
"""The things that a text names, and their kinds."""
GRAMMAR = Prompt(
    name="grammar",
    examples=(
        ("The children were playing in the garden.|playing", "verb, present participle, action"),
        ("The children were playing in the garden.|the", "article, definite"),
        ("She quickly sold her old cars to them.|cars", "noun, plural, thing, object"),
        ("She quickly sold her old cars to them.|them", "pronoun, plural, third person"),
        ("Berlin is a very large city, he said.|large", "adjective, quality"),
        ("Berlin is a very large city, he said.|Berlin", "proper noun, name, city, subject"),
        ("Berlin is a very large city, he said.|,", "punctuation, comma"),
        ("They walked to 12 shops and paid.|to", "preposition, direction"),
        ("They walked to 12 shops and paid.|12", "number, quantity"),
        ("They walked to 12 shops and paid.|and", "conjunction"),
        ("They walked to 12 shops and paid.|walked", "verb, past tense, action"),
    ),
    question="Sentence: {text} Word: {word} Kind:",
    closed=(
        *("verb", "present participle", "past tense", "action", "noun", "proper noun", "name", "plural", "thing"),
        *("object", "subject", "article", "definite", "pronoun", "third person", "adjective", "quality"),
        *("punctuation", "comma", "preposition", "direction", "number", "quantity", "conjunction"),
    ),
)
"""The kind of a word in its sentence, in terms of school grammar."""
PROMPTS: tuple[Prompt, ...] = (TOPICS,)
"""The prompts for sentences that are used where none are named; `(GRAMMAR,)` is that for words."""


def refuse_doubles(prompts: Sequence[Prompt]) -> None:
    """Checks that there are prompts, and that their names differ.

    Raises:
        SettingsError: There is none, or two have one name.
    """
    names = [prompt.name for prompt in prompts]
    if not names or len(set(names)) < len(names):
        raise SettingsError(f"Give at least one prompt, each with a name of its own; got {', '.join(names) or 'none'}.")
