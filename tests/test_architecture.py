"""The rules of the house, checked on the text of every file: which room may import which, and how long things may be.

The floors are read from the table in `lca_jax/README.md`, which is the one place where they are written down.
"""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.sources import FILES, ROOT, TREES

FLOORS = {
    room: int(floor)
    for floor, room in re.findall(r"(?m)^\| (\d+) \| `(\w+)` \|", (ROOT / "README.md").read_text("utf-8"))
}
LONGEST_FILE = 400
LONG_FILE = 300
LONG_FILES = 5
LONGEST_FUNCTION = 60


def room_of(path: Path) -> str:
    return path.relative_to(ROOT).parts[0].removesuffix(".py")


def imported(path: Path) -> Iterator[str]:
    """The modules that a file imports anywhere, by their full names."""
    for node in ast.walk(TREES[path]):
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno}: relative import"
            yield node.module or ""
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)


def lines_of(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """The lines of a function without its docstring, which may be as long as it must."""
    first = function.body[0]
    documented = isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant)
    docstring = (first.end_lineno or 0) - first.lineno + 1 if documented else 0
    return (function.end_lineno or 0) - function.lineno + 1 - docstring


def test_the_table_has_floors() -> None:
    assert FLOORS["errors"] == 0
    assert len(FLOORS) > 15


def test_every_room_has_a_row_and_no_room_is_a_lumber_room() -> None:
    rooms = {room_of(path) for path in FILES} - {"__init__"}
    assert rooms <= set(FLOORS), f"without a row in lca_jax/README.md: {sorted(rooms - set(FLOORS))}"
    assert not rooms & {"utils", "misc", "base", "helpers", "common"}


@pytest.mark.parametrize("room", sorted({room_of(path) for path in FILES} - {"__init__"}))
def test_a_room_imports_from_lower_floors_only(room: str) -> None:
    wrong = [
        f"{path.relative_to(ROOT)} imports {name}"
        for path in FILES
        if room_of(path) == room
        for name in imported(path)
        if name.split(".")[0] == "lca_jax"
        # The package itself counts as the highest floor: its public names are for users.
        if (other := name.partition(".")[2].split(".")[0]) != room and FLOORS.get(other, 99) >= FLOORS[room]
    ]
    assert not wrong, "\n".join(wrong)


def test_no_file_is_longer_than_one_can_read_at_once() -> None:
    lengths = {str(path.relative_to(ROOT)): len(path.read_text("utf-8").splitlines()) for path in FILES}
    too_long = {name: length for name, length in lengths.items() if length > LONGEST_FILE}
    long = {name: length for name, length in lengths.items() if length > LONG_FILE}
    assert not too_long
    assert len(long) <= LONG_FILES, long


def test_no_function_is_longer_than_a_page() -> None:
    wrong = [
        f"{path.relative_to(ROOT)}: {node.name}, {lines_of(node)} lines"
        for path, tree in TREES.items()
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and lines_of(node) > LONGEST_FUNCTION
    ]
    assert not wrong, "\n".join(wrong)


def test_only_machine_asks_for_devices() -> None:
    for path in FILES:
        if room_of(path) != "machine":
            text = path.read_text("utf-8")
            assert "jax.devices(" not in text, path
            assert "jax.local_devices(" not in text, path
            assert "jax.default_backend(" not in text, path


def test_only_hugging_face_imports_transformers() -> None:
    importing = {
        room_of(path) for path in FILES if any(name.split(".")[0] == "transformers" for name in imported(path))
    }
    assert importing == {"hugging_face"}


def test_json_is_read_in_one_place() -> None:
    """There a text that is nested too deeply is a `ValueError`, as all that is no JSON."""
    readers = {
        path.relative_to(ROOT).as_posix()
        for path, tree in TREES.items()
        for node in ast.walk(tree)
        if (isinstance(node, ast.Attribute) and ast.unparse(node) in ("json.loads", "json.load", "json.JSONDecoder"))
        or (isinstance(node, ast.ImportFrom) and node.module == "json")
    }
    assert readers == {"machine/json_text.py"}


def test_nothing_is_printed() -> None:
    for path, tree in TREES.items():
        calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call)]
        assert "print" not in {node.func.id for node in calls if isinstance(node.func, ast.Name)}, path


def test_nothing_is_unpickled_and_torch_is_not_used() -> None:
    for path in FILES:
        packages = {name.split(".")[0] for name in imported(path)}
        assert not packages & {"pickle", "cloudpickle", "dill", "torch"}, path
