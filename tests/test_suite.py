"""The suite itself: what tests share is in helper modules."""

import ast
from pathlib import Path

import jax
import jax.numpy as jnp
import pytest

from tests.mappings import count_mappings, let_go_of_programs

TESTS = Path(__file__).parent


def test_no_test_file_imports_another() -> None:
    """Else one room's edits break another's tests, and a child process loads both."""
    imports = {
        (str(file.relative_to(TESTS.parent)), node.module)
        for folder in (TESTS, TESTS.parent / "benchmarks")
        for file in folder.rglob("*.py")
        for node in ast.walk(ast.parse(file.read_text("utf-8")))
        if isinstance(node, ast.ImportFrom) and node.module and node.module.rpartition(".")[2].startswith("test_")
    }
    assert not imports


def test_programs_of_earlier_files_do_not_fill_the_memory_map() -> None:
    """Linux ends a process with 65,530 mappings, and a worker of this suite makes more if it keeps its programs."""
    if not count_mappings():
        pytest.skip("this system does not tell the mappings of a process")
    let_go_of_programs(above=0)
    before = count_mappings()
    for size in range(1, 81):
        jax.jit(lambda x: jnp.sin(x).sum())(jnp.ones((size, 2)))
    full = count_mappings()
    assert full >= before + 80
    let_go_of_programs(above=10 * full)
    assert count_mappings() >= before + 80  # there is room yet
    let_go_of_programs(above=before)  # other threads may have changed the number by a few since
    assert count_mappings() <= (before + full) / 2  # the rest is memory that Python keeps
