"""What is wrong with the lists that a corpus is made of: words, labels of words and of sentences, starts of texts."""

from collections.abc import Iterator, Mapping, Sequence


def word_problems(sentences: Sequence[Sequence[object]]) -> Iterator[str]:
    """Yields what is wrong with words."""
    for number, sentence in enumerate(sentences, 1):
        if isinstance(sentence, str):
            yield f"sentence {number}: {sentence[:40]!r} is one text; split it into a list of words"
            continue
        for position, word in enumerate(sentence, 1):
            if not isinstance(word, str):
                yield f"sentence {number}, word {position}: {word!r} is not text"
            elif not is_unicode(word):
                yield f"sentence {number}, word {position}: {word!r} holds half a surrogate pair, which is not Unicode"


def label_problems(
    task: str, labels: Sequence[Sequence[object]], sentences: Sequence[Sequence[object]]
) -> Iterator[str]:
    """Yields what is wrong with the labels of words, and where they do not fit the words."""
    if len(labels) != len(sentences):
        yield f"task `{task}`: labels for {len(labels)} sentences, but there are {len(sentences)} sentences"
        return
    for number, (of_words, sentence) in enumerate(zip(labels, sentences, strict=True), 1):
        if isinstance(of_words, str) or len(of_words) != len(sentence):
            yield f"task `{task}`, sentence {number}: {len(of_words)} labels for {len(sentence)} words"
            continue
        for position, label in enumerate(of_words, 1):
            if label is not None and not isinstance(label, str):
                yield f"task `{task}`, sentence {number}, word {position}: the label {label!r} is neither text nor None"


def sentence_label_problems(
    task: str, labels: Sequence[object], sentences: Sequence[object], *, taken: Mapping[str, object]
) -> Iterator[str]:
    """Yields what is wrong with the labels of sentences; `taken` are the tasks of words."""
    if task in taken:
        yield taken_by_both(task)
    if isinstance(labels, str) or len(labels) != len(sentences):
        yield f"task `{task}`: {len(labels)} labels of sentences, but there are {len(sentences)} sentences"
        return
    for number, label in enumerate(labels, 1):
        if label is not None and not isinstance(label, str):
            yield f"task `{task}`, sentence {number}: the label {label!r} is neither text nor None"


def taken_by_both(task: str) -> str:
    """Says that words and sentences have labels of one task."""
    return f"task `{task}`: words and sentences cannot both have labels of one task; rename one of them"


def pair_problems(second_starts: Sequence[int], sentences: Sequence[Sequence[object]]) -> Iterator[str]:
    """Yields where a second text does not begin inside its pair."""
    if len(second_starts) != len(sentences):
        yield f"pairs: {len(second_starts)} starts of second texts, but there are {len(sentences)} sentences"
        return
    for number, (start, sentence) in enumerate(zip(second_starts, sentences, strict=True), 1):
        if not 0 < start < len(sentence):
            yield f"sentence {number}: both texts of a pair need words, got {start} of {len(sentence)} for the first"


def as_label(value: object) -> str | None:
    """Returns a value that can be a class, as text (`1`, `true`), or None for any other value."""
    if isinstance(value, bool):
        return str(value).lower()
    return str(value) if isinstance(value, str | int) else None


def is_unicode(text: str) -> bool:
    """Returns whether a text can be encoded: half a surrogate pair, which JSON may hold, cannot."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
