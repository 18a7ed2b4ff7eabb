"""Files with a word a row, and plain text."""

from pathlib import Path

import pytest

from lca_jax import read_columns, read_text
from lca_jax.errors import CorpusError, SettingsError


def written(folder: Path, content: str, name: str = "columns.txt") -> Path:
    path = folder / name
    path.write_text(content, encoding="utf-8")
    return path


def test_columns_are_numbered_from_one(tmp_path: Path) -> None:
    path = written(tmp_path, "# # B-NP\nnear-record JJ I-NP\n\n\n. _ O\n", "chunks.txt")
    corpus = read_columns(path, columns={"chunk": 3, "pos": 2}, separator=" ")
    assert corpus.sentences == (("#", "near-record"), (".",))
    assert corpus.labels == {"chunk": (("B-NP", "I-NP"), ("O",)), "pos": (("#", "JJ"), (None,))}
    assert read_columns(path, columns={}, word_column=3).words() == ["B-NP", "I-NP", "O"]
    assert read_columns(path, columns={"pos": 2}, unlabelled=None).flat_labels("pos") == ["#", "JJ", "_"]
    for column in (0, 4):
        with pytest.raises(SettingsError, match=f"column {column} is named for `chunk`, but columns run from 1 to 3"):
            read_columns(path, columns={"chunk": column}, separator=" ")
    with pytest.raises(CorpusError, match="no word has a label for the task `last`: column 3 is `O` in every row"):
        read_columns(written(tmp_path, "a b O\n"), columns={"last": 3}, unlabelled="O")


def test_every_row_of_another_width_is_named(tmp_path: Path) -> None:
    # The first row is the broken one: the width that most rows have decides, not the first.
    path = written(tmp_path, "a b\nc d e\n\nf g h\ni  j\nk l m n\no p q\n", "columns.txt")
    with pytest.raises(CorpusError) as caught:
        read_columns(path, columns={"last": 3}, separator=" ")
    assert str(caught.value).splitlines()[1:] == [
        f"  {path}:1: 2 columns, but most rows of this file have 3",
        f"  {path}:5: column 2 is empty",
        f"  {path}:6: 4 columns, but most rows of this file have 3",
    ]


def test_plain_text_keeps_line_numbers(tmp_path: Path) -> None:
    corpus = read_text(written(tmp_path, "Zwei  Wörter\n\nBonjour\u00a0!\t你好\n", "lines.txt"))
    assert corpus.sentences == (("Zwei", "Wörter"), (), ("Bonjour", "!", "你好"))
    assert corpus.tasks == ()


def test_parallel_text_stays_parallel(shared_data: Path) -> None:
    for language in ("en", "de"):
        assert read_text(shared_data / "mt" / "multi30k" / f"val.{language}.gz").sentence_count == 1014
