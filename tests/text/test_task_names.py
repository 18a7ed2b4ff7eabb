"""No two tasks share a file, and no task is lost."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lca_jax.errors import SettingsError
from lca_jax.experiment.config import Study
from lca_jax.text.formats import read_corpus
from lca_jax.text.task_names import name_file_of, refuse_like_names


@given(
    st.lists(st.text(st.sampled_from("ab:/-_.= ~A[]é"), min_size=1, max_size=6), unique=True, min_size=2, max_size=9)
)
def test_names_are_one_to_one(tasks: list[str]) -> None:
    names = [name_file_of(task) for task in tasks]
    assert len(set(names)) == len(names)
    assert not any("/" in name or name.startswith(".") or len(name) > 120 for name in names)


def test_common_names_stay_readable() -> None:
    assert [name_file_of(task) for task in ("upos", "feats:Number", "2")] == ["upos", "feats-Number", "2"]
    assert name_file_of("feats:Number[psor]").startswith("feats-Number-psor-~")
    assert len(name_file_of("x" * 3000)) < 120


def test_tasks_that_share_a_file_on_a_case_blind_disk_are_refused() -> None:
    refuse_like_names(["a/b", "a-b", "feats:Number[psor]", "feats:Number-psor-"])
    with pytest.raises(SettingsError, match="`pos` differs from `POS` in the case of letters alone"):
        refuse_like_names(["POS", "pos"])
    with pytest.raises(SettingsError, match="The task `upos` is named twice"):
        Study(model="bert", train=Path("a"), out=Path("b"), tasks=("upos", "upos"))


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("words.txt", "a\tX\tY\nb\tY\tX\n\n"),
        ("words.jsonl", '{"tokens": ["a", "b"], "2": ["X", "Y"], "3": ["Y", "X"]}\n'),
        ("texts.tsv", "a long text\tX\tY\nanother long text\tY\tX\n"),
    ],
)
def test_one_name_for_two_columns_is_refused(tmp_path: Path, name: str, text: str) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(SettingsError, match="The task `t` is named twice"):
        read_corpus(tmp_path / name, tasks=["t=2", "t=3"])
