"""A text file and label files beside it: line n of each belongs to sentence n, as in NeuroX and fairseq."""

from collections.abc import Mapping
from pathlib import Path

from lca_jax.errors import CorpusError, SettingsError
from lca_jax.machine.urls import is_there
from lca_jax.text.corpus import Corpus
from lca_jax.text.lines import Source

TEXT_SUFFIX, LABEL_SUFFIX = ".in", ".label"


def read_parallel(
    path: str | Path,
    *,
    labels: Mapping[str, str | Path],
    unlabelled: str | None = None,
    encoding: str = "utf-8",
) -> Corpus:
    """Reads a text with one sentence a line, and the labels of its words in files with as many lines.

    `read_parallel("test.in", labels={"pos": "test.label"})`. Words and labels are split at white space. A line of
    labels that has one label, where most lines of its file have one, is the label of the sentence.

    Args:
        path: The text.
        labels: File of every task.
        unlabelled: Mark of a word or sentence without a label.
        encoding: Encoding of the files.

    Raises:
        CorpusError: A file cannot be read, or files differ in lines, or a line in words and labels (all are listed).
    """
    source = Source.read(path, encoding=encoding)
    sentences = [tuple(line.split()) for line in source.lines]
    of_words: dict[str, list[tuple[str | None, ...]]] = {}
    of_sentences: dict[str, list[str | None]] = {}
    for task, file in labels.items():
        other = Source.read(file, encoding=encoding)
        other.refuse_problems()
        rows = [line.split() for line in other.lines]
        if len(rows) != len(sentences):
            raise CorpusError(
                f"{file} has {len(rows)} lines, {path} has {len(sentences)}. Line n must belong to line n."
            )
        single = sum(len(row) == 1 for row in rows) > len(rows) / 2
        if single and any(len(sentence) != 1 for sentence in sentences):
            of_sentences[task] = [_label(row[0] if row else None, unlabelled) for row in rows]
            continue
        for number, (row, sentence) in enumerate(zip(rows, sentences, strict=True), 1):
            if len(row) != len(sentence):
                source.report(number, f"{len(sentence)} words, but {len(row)} labels of `{task}` in {file}")
        of_words[task] = [tuple(_label(label, unlabelled) for label in row) for row in rows]
    return source.finish(sentences, of_words, sentence_labels=of_sentences)


def find_labels(path: Path, tasks: Mapping[str, str]) -> dict[str, Path] | None:
    """Returns the label file of a task for a text `NAME.in` that has `NAME.label` beside it; None for other files.

    Raises:
        SettingsError: Several tasks are asked for, but one label file is there.
    """
    beside = path.with_suffix(LABEL_SUFFIX)
    if path.suffix != TEXT_SUFFIX or not is_there(beside):
        return None
    if len(tasks) > 1:
        raise SettingsError(f"{path} has the labels of one task beside it ({beside.name}), got {', '.join(tasks)}.")
    return dict.fromkeys(tasks, beside)


def _label(label: str | None, unlabelled: str | None) -> str | None:
    return None if label == unlabelled else label
