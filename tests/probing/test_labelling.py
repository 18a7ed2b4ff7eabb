"""Labels as numbers, straight from the columns of a store: those of the words one by one, and their control tasks."""

from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest

from lca_jax import control_task_of
from lca_jax.errors import DataError
from lca_jax.probing.labelling import label_tasks, narrowed, number_labels, usable_labels
from lca_jax.store.store import ActivationStore
from tests.stores import store_of

FORMS = ["the", "dog", "The", "ran", "the", "odd", "dog", "ran", "ümlaut", "the"]
LABELS = ["b", "z", "a", None, "a", "only where no vector is", "z", "b", None, "a"]


def store(labels: list[str | None]) -> ActivationStore:
    """The sixth word has no vector."""
    whole = store_of(np.ones((10, 1, 2), np.float32), [FORMS], {"task": [labels]})
    excluded = pa.array([None] * 5 + ["too long"] + [None] * 4, pa.string())
    return replace(
        whole, words=whole.words.set_column(whole.words.column_names.index("excluded"), "excluded", excluded)
    )


@pytest.mark.parametrize("one_vs_rest", [False, True])
def test_numbers_of_columns_are_those_of_the_words(one_vs_rest: bool) -> None:
    read = store(LABELS)
    usable = usable_labels(read, "task")
    assert usable == [label if place != 5 else None for place, label in enumerate(LABELS)]
    drawn = control_task_of(read, "task", seed=3)
    assert drawn is not None
    real = narrowed(number_labels("task", usable))
    control = narrowed(number_labels("task", drawn.label_like(FORMS, usable), classes=real.classes))
    made = label_tasks(read, ["task"], seed=3, one_vs_rest=one_vs_rest, control=True, regression=())
    assert [one.control for one in made] == [False, True] * (3 if one_vs_rest else 1)
    for place, one in enumerate(made):
        whole = control if one.control else real
        if one_vs_rest:
            target = place // 2
            assert one.classes == (f"not {'abz'[target]}", "abz"[target])
            np.testing.assert_array_equal(
                one.numbers, np.where(whole.numbers < 0, whole.numbers, whole.numbers == target)
            )
        else:
            assert one.classes == whole.classes == ("a", "b", "z")
            np.testing.assert_array_equal(one.numbers, whole.numbers)
            assert one.numbers.dtype == whole.numbers.dtype == np.int8


def test_a_task_without_usable_labels_is_refused() -> None:
    with pytest.raises(DataError, match="The task `task` has no labelled word with a vector"):
        label_tasks(
            store([None] * 5 + ["x"] + [None] * 4), ["task"], seed=0, one_vs_rest=False, control=True, regression=()
        )
