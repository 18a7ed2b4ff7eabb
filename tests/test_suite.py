"""The suite itself: what tests share is in helper modules."""

import ast
from pathlib import Path

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
