"""Problems that have room beside X: by the host's limit on a CPU, by the free memory of an accelerator."""

import pytest

from lca_jax.probing.matrix.sizes import coarse_size, lower_size
from lca_jax.probing.room import problems_in_memory


@pytest.mark.parametrize(
    ("platform", "devices", "free", "problems"),
    [
        ("cpu", 8, None, 2),  # one memory for all of its devices: 150 MB an array of 71 MB
        ("gpu", 1, None, 4),
        ("gpu", 8, None, 33),
        ("gpu", 1, 18e9, 12),  # an H100 beside 42 GB of X: 14, and the next number that batches are padded to
        ("gpu", 1, 64e9, 48),  # an H200
        ("tpu", 256, 15e9, 2048),
        ("gpu", 1, 1e6, 1),
    ],
)
def test_so_many_problems_of_a_million_words_have_room(
    platform: str, devices: int, free: float | None, problems: int
) -> None:
    found = problems_in_memory(platform, devices, words=1_048_576, classes=17, free=free)
    assert found == problems
    taken = 18 * 4 * 1_048_576 * 17 * found / devices
    assert free is None or found == 1 or taken <= free


def test_the_lower_size_is_one_that_batches_are_padded_to() -> None:
    for size in range(1, 200):
        lower = lower_size(size)
        assert lower <= size < 2 * lower
        assert coarse_size(lower) == lower
        assert size <= coarse_size(size)
        assert (coarse_size(size) == size) is (lower == size)
