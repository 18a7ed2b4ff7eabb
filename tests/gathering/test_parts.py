"""What is gathered is settled before: every word's group, in numbers that have room for it."""

import numpy as np
import pyarrow as pa
import pytest

from lca_jax.gathering.parts import plan_gathering
from lca_jax.store.statistics import Gathering
from tests.stores import planted_store


@pytest.mark.parametrize("classes", [1, 127, 128, 129, 300])
def test_groups_have_room_for_all_classes(classes: int) -> None:
    recipe = planted_store(words=400).manifest.recipe
    numbers = np.arange(400) % (classes + 1) - 1
    labels = pa.array([None if number < 0 else f"{number:03}" for number in numbers.tolist()], pa.string())
    plan = plan_gathering(recipe, {"one": labels, "two": labels}, Gathering())
    np.testing.assert_array_equal(plan.groups[:, 0], numbers + 1)
    np.testing.assert_array_equal(plan.groups[:, 1], np.where(numbers < 0, 0, numbers + 1 + classes))
    assert plan.groups.itemsize == (1 if 2 * classes < 128 else 2)
