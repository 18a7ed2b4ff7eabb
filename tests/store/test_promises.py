"""Every promise on the page of the store names tests that exist."""

import ast
import re
from pathlib import Path

import lca_jax

TESTS = Path(__file__).parents[1]
PAGE = Path(lca_jax.__file__).parent / "store" / "README.md"


def test_every_named_test_exists() -> None:
    known: dict[str, set[str]] = {}
    for file in TESTS.rglob("test_*.py"):
        nodes = ast.walk(ast.parse(file.read_text("utf-8")))
        known.setdefault(file.name, {""}).update(node.name for node in nodes if isinstance(node, ast.FunctionDef))
    last, named = "", []
    for file, function in re.findall(r"`(test_\w+\.py)?(?:::(test_\w+))?`", PAGE.read_text("utf-8")):
        last = file or last
        named += [(last, function)] if last else []
    assert [f"{file}::{function}" for file, function in named if function not in known.get(file, set())] == []
    assert len(named) > 50
