"""What the processes of a job tell each other, so that all of them decide alike."""

import pytest

from lca_jax.machine.processes import all_bytes, known_to_all, of_first
from tests.processes import run_processes


def test_a_process_that_is_alone_hears_itself() -> None:
    assert all_bytes(b"") == [b""]
    assert of_first(b"one") == b"one"
    assert known_to_all(["b", "a"]) == {"a", "b"}


TOLD = """
from lca_jax.machine.processes import all_bytes, known_to_all, of_first
print(all_bytes(b"long" * number), of_first(str(number).encode()))
print(sorted(known_to_all(["both", "first"] if number == 0 else ["other", "both"])), known_to_all([str(number)]))
"""


@pytest.mark.slow
def test_all_processes_hear_the_same() -> None:
    for text in run_processes(TOLD, [], count=2, devices=1):
        assert text.splitlines()[-2:] == [
            "[b'', b'long'] b'0'",
            "['both'] frozenset()",
        ]
