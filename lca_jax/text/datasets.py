"""Data sets of the package `datasets`: in memory, from the cache of this machine, or from the hub.

A column with a list in each row holds labels of words, any other one labels of sentences. Whole numbers become the
names of their classes where the data set knows them, and -100, the mark of what has no label, is masked and counted.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from lca_jax.errors import CorpusError, MissingExtraError, SettingsError
from lca_jax.text.corpus import Corpus
from lca_jax.text.options import TextOptions
from lca_jax.text.problems import as_label
from lca_jax.text.sentences import NO_TEXT, TEXT_NAMES

HUB = "hf:"
"""Begins the name of a data set where a path is expected: `hf:NAME`, `hf:NAME@SPLIT`, `hf:NAME:CONFIG@SPLIT`."""
_SPLITS = {"train": "train", "dev": "validation", "test": "test"}
IGNORED = -100


def corpus_of_dataset(
    dataset: Any,
    *,
    text: str,
    labels: Mapping[str, str],
    second: str | None = None,
    where: Mapping[str, str] | None = None,
    unlabelled: str | None = None,
    name: str = "dataset",
) -> Corpus:
    """Makes a corpus of one split of a data set; see `Corpus.from_dataset`."""
    known = list(dataset.features)
    for column in (text, *([] if second is None else [second]), *labels.values(), *(where or {})):
        if column not in known:
            raise SettingsError(f"{name} has no column `{column}`. Its columns: {', '.join(known)}.")
    names = {task: _class_names(dataset.features[column]) for task, column in labels.items()}
    skipped: Counter[str] = Counter()
    sentences: list[tuple[str, ...]] = []
    starts: list[int] = []
    found: dict[str, list[Any]] = {task: [] for task in labels}
    for row in dataset:
        if any(str(row[column]) != value for column, value in (where or {}).items()):
            skipped["row of another kind"] += 1
            continue
        parts = [_words(row[column], name) for column in (text, second) if column is not None]
        if not all(parts):
            skipped[NO_TEXT] += 1
            continue
        sentences.append(tuple(word for part in parts for word in part))
        starts.append(len(parts[0]))
        for task, column in labels.items():
            found[task].append(_named(row[column], names[task], task, unlabelled, skipped))
    if not sentences:
        raise CorpusError(f"{name}: no row has a text in the column `{text}`.")
    of_words = {task for task, values in found.items() if any(isinstance(value, list) for value in values)}
    corpus = Corpus.from_words(
        sentences,
        labels={task: found[task] for task in labels if task in of_words},
        sentence_labels={task: found[task] for task in labels if task not in of_words},
        second_starts=None if second is None else starts,
        name=name,
    )
    return replace(corpus, skipped=dict(skipped))


def read_dataset(name: str, *, labels: Mapping[str, str], options: TextOptions, part: str | None) -> Corpus:
    """Reads one split of a data set that lies in the cache, or can be fetched from the hub.

    Args:
        name: `hf:NAME`, with `:CONFIG` and `@SPLIT` where they are needed; by default the split of `part`.
        labels: Column of every task.
        options: Columns of the texts, where they have no usual names, and rows that are read.
        part: `train`, `dev` or `test`, whose split is `validation` for `dev`.

    Raises:
        MissingExtraError: The package `datasets` is not installed.
        CorpusError: The data set can neither be found in the cache nor fetched.
        SettingsError: It has no column of a name, or none of a usual name for its texts.
    """
    try:
        import datasets
    except ImportError:
        raise MissingExtraError("datasets", "datasets", f"Reading {name}") from None
    where, _, split = name.removeprefix(HUB).partition("@")
    repository, _, config = where.partition(":")
    split = split or _SPLITS.get(part or "train", "train")
    try:
        dataset = datasets.load_dataset(repository, config or None, split=split)
    except Exception as error:  # datasets raises what its builders raise
        raise CorpusError(
            f"{name}: the split {split!r} cannot be read: {(str(error).splitlines() or [type(error).__name__])[0]} "
            "Name it as hf:NAME@SPLIT, or hf:NAME:CONFIG@SPLIT."
        ) from None
    columns = list(dataset.features)
    named = next((names for names in TEXT_NAMES if set(names) <= set(columns)), None)
    if options.text_column is None and named is None:
        raise SettingsError(
            f"{name} has no column of a usual name for its texts. Its columns: {', '.join(columns)}. Give "
            "`--text-column`, and for pairs `--second-column`."
        )
    second = options.second_column or (named[1] if options.text_column is None and named and len(named) == 2 else None)
    return corpus_of_dataset(
        dataset,
        text=options.text_column or (named or ("",))[0],
        second=second,
        labels=labels,
        where={str(column): text for column, text in options.filters.items()},
        unlabelled=options.unlabelled,
        name=f"{name.partition('@')[0]}@{split}",
    )


def _class_names(feature: Any) -> Sequence[str] | None:
    """Returns the names of a ClassLabel, or of a list of them."""
    while not hasattr(feature, "names") and hasattr(feature, "feature"):
        feature = feature.feature
    return getattr(feature, "names", None)


def _words(value: Any, name: str) -> list[str]:
    words = value.split() if isinstance(value, str) else value
    if words is None:
        return []
    if not isinstance(words, list) or not all(isinstance(word, str) for word in words):
        raise CorpusError(f"{name}: a text must be a string or a list of words, got {value!r:.60}.")
    return words


def _named(
    value: Any, names: Sequence[str] | None, task: str, unlabelled: str | None, skipped: Counter[str]
) -> str | list[str | None] | None:
    """Returns labels as text, by the names of their classes."""
    if isinstance(value, list):
        labels = [_named(each, names, task, unlabelled, skipped) for each in value]
        return [label if isinstance(label, str) else None for label in labels]
    if value == IGNORED or (value == -1 and names is not None):
        # Test splits whose labels are not published have -1 in the place of a class.
        skipped[f"label {value} of {task}, which marks what has none"] += 1
        return None
    label = names[value] if names is not None and isinstance(value, int) else as_label(value)
    return None if label == unlabelled else label
