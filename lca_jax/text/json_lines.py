"""Files of JSON lines: one object per line, its text under one key and its labels under others.

A text is a list of words, or a string, which is split at white space. One value is a label of the sentence, a list of
values holds one label per word. Values are strings, whole numbers, true and false, which become text (`1`, `true`), or
null, which is no label. `-100` among whole numbers is no label either. Most data sets of hubs can be exported in this
form.
"""

import json
from collections.abc import Mapping
from typing import Any

from lca_jax.errors import SettingsError
from lca_jax.machine.json_text import parse_json
from lca_jax.text.corpus import Corpus
from lca_jax.text.lines import Readable, Source
from lca_jax.text.problems import as_label, is_unicode
from lca_jax.text.sentences import BLANK, NO_TEXT, TEXT_NAMES, finish_sentences


def read_json_lines(
    path: Readable,
    *,
    keys: Mapping[str, str],
    text_key: str,
    second_key: str | None = None,
    where: Mapping[str, str] | None = None,
    unlabelled: str | None = None,
    encoding: str = "utf-8",
) -> Corpus:
    """Reads a file with one JSON object per line, plain or gzipped.

    Labelled words: `keys={"ner": "ner_tags"}, text_key="tokens"`. Pairs: `keys={"entailment": "label"},
    text_key="premise", second_key="hypothesis"`; labels of words are then those of both texts, one after the other.

    Args:
        path: The file: a path, a URL, or one that was read already (`text.lines.Source`).
        keys: Key of the labels of every task.
        text_key: Key of the text.
        second_key: Key of the second text of pairs.
        where: Value, as text, that a key must have in the lines that are read; the other lines are counted in
            `Corpus.skipped`, as are blank lines and lines whose text is empty.
        unlabelled: Mark of a word or sentence without a label.
        encoding: Encoding of the file.

    Returns:
        A corpus with `labels` for tasks of words and `sentence_labels` for tasks of sentences.

    Raises:
        CorpusError: The file cannot be read, or lines are not objects, lack a key, or have a text or label of another
            form (all are listed), or nothing has a label of a task.
        SettingsError: No line has one of the keys; the message lists those of the first line.
    """
    source = Source.of(path, encoding=encoding)
    text_keys = [text_key] if second_key is None else [text_key, second_key]
    texts: list[list[list[str]]] = []
    values: dict[str, list[object]] = {task: [] for task in keys}
    lines: list[int] = []
    rows = _objects(source)
    _refuse_unknown_keys(source, rows, [*text_keys, *keys.values(), *(where or {})])
    for number, row in rows.items():
        if absent := [key for key in (*text_keys, *keys.values(), *(where or {})) if key not in row]:
            source.report(number, f"no key {', '.join(f'`{key}`' for key in absent)}")
        elif unlike := [key for key, value in (where or {}).items() if as_label(row[key]) != value]:
            source.skipped[f"line of another kind (key {unlike[0]})"] += 1
        else:
            parts = [_words(source, number, key, row[key]) for key in text_keys]
            if not all(parts):
                source.skipped[NO_TEXT] += 1
                continue
            texts.append(parts)
            lines.append(number)
            for task, key in keys.items():
                values[task].append(row[key])
    lengths = [sum(map(len, parts)) for parts in texts]
    labels: dict[str, list[tuple[str | None, ...]]] = {}
    sentence_labels: dict[str, list[str | None]] = {}
    for task, of_task in values.items():
        # The majority decides, so that one odd line does not accuse the others.
        if sum(1 if isinstance(value, list) else -1 for value in of_task if value is not None) > 0:
            labels[task] = [
                _word_labels(source, number, task, value, length, unlabelled)
                for number, value, length in zip(lines, of_task, lengths, strict=True)
            ]
        else:
            sentence_labels[task] = [
                _label(source, number, task, value, unlabelled) for number, value in zip(lines, of_task, strict=True)
            ]
    return finish_sentences(source, texts, labels, sentence_labels)


def guess_text_keys(source: Source) -> tuple[str, ...]:
    """Returns the key of the text, or the two keys of a pair's texts, if they have usual names.

    Raises:
        CorpusError: Lines are not objects (all are listed).
        SettingsError: The first object has no usual key; the message lists its keys.
    """
    first = _first_object(source)
    for names in TEXT_NAMES:
        if all(name in first for name in names):
            return names
    _objects(source)
    source.refuse_problems()
    known = ", ".join("/".join(names) for names in TEXT_NAMES)
    raise SettingsError(
        f"{source.place}: no line has a usual key for its text ({known}). Keys of the first line: {', '.join(first)}. "
        "Name the key of the text (`text_key`, `--text-column`), and for pairs that of the second one (`second_key`, "
        "`--second-column`)."
    )


def _first_object(source: Source) -> dict[str, Any]:
    for line in source.lines:
        try:
            row = parse_json(line)
        except ValueError:
            continue
        if isinstance(row, dict):
            return row
    return {}


def _objects(source: Source) -> dict[int, dict[str, Any]]:
    """Returns the objects by line number; lines that hold none are reported."""
    rows = {}
    for number, line in enumerate(source.lines, 1):
        if not line.strip():
            source.skipped[BLANK] += 1
            continue
        try:
            row = parse_json(line)
        except ValueError as error:
            source.report(number, f"is not JSON: {error}")
            continue
        if isinstance(row, dict):
            rows[number] = {source.share(key): _shared(source, value) for key, value in row.items()}
        else:
            source.report(number, "must be a JSON object")
    return rows


def _shared(source: Source, value: Any) -> Any:
    """Returns a value in which equal texts of a list are held once."""
    return [source.share(one) if isinstance(one, str) else one for one in value] if isinstance(value, list) else value


def _refuse_unknown_keys(source: Source, rows: Mapping[int, Mapping[str, Any]], keys: list[str]) -> None:
    unknown = [key for key in keys if not any(key in row for row in rows.values())]
    if rows and unknown:
        known = ", ".join(next(iter(rows.values())))
        raise SettingsError(f"{source.place}: no line has the key `{unknown[0]}`. Keys of the first line: {known}.")


def _words(source: Source, number: int, key: str, text: object) -> list[str]:
    """Returns the words of one text; anything but words is reported."""
    words = text.split() if isinstance(text, str) else text
    if not isinstance(words, list) or not all(isinstance(word, str) for word in words):
        source.report(number, f"`{key}` must be a text or a list of words, got {_brief(text)}")
        return ["?"]
    if not all(is_unicode(word) for word in words):
        source.report(number, f"`{key}` holds half a surrogate pair, which is not Unicode")
    return words


def _word_labels(
    source: Source, number: int, task: str, value: object, length: int, unlabelled: str | None
) -> tuple[str | None, ...]:
    """Returns one label per word from a list, or from null in a line without labels."""
    if value is None:
        return (None,) * length
    if not isinstance(value, list) or len(value) != length:
        found = f"{len(value)} labels" if isinstance(value, list) else f"the label {_brief(value)}"
        source.report(number, f"task `{task}`: {found} for {length} words, but most lines have one label per word")
        return (None,) * length
    return tuple(_label(source, number, task, label, unlabelled) for label in value)


def _label(source: Source, number: int, task: str, value: object, unlabelled: str | None) -> str | None:
    label = as_label(value)
    if (label is None and value is not None) or not is_unicode(label or ""):
        source.report(number, f"task `{task}`: the label {_brief(value)} is neither text, a whole number nor null")
    return None if label == unlabelled else label


def _brief(value: object) -> str:
    text = json.dumps(value)
    return text if len(text) <= 60 else text[:60] + "…"
