"""The data goes one way: a room imports only from rooms on a lower floor. This list is the design's."""

import ast
from pathlib import Path

import lca_jax

FLOORS = {
    "errors": 0, "axes": 0, "devices": 0,
    "text": 1, "models": 1,
    "activations": 2,
    "probing": 3,
    "ranking": 4,
    "analysis": 5,
    "report": 6,
    "experiment": 7, "demo": 7, "cli": 8,
}  # fmt: skip
ROOT = Path(lca_jax.__file__).parent
SAME_GROUND = {("axes", "errors"), ("devices", "errors")}


def rooms_imported(path: Path) -> set[str]:
    names = set()
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            names.add(node.module or "")
        elif isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
    return {name.split(".")[1] for name in names if name.startswith("lca_jax.")}


def room_of(path: Path) -> str:
    return path.relative_to(ROOT).parts[0].removesuffix(".py")


def test_rooms_import_lower_floors_only() -> None:
    wrong = []
    for path in sorted(ROOT.rglob("*.py")):
        room = room_of(path)
        if room == "__init__":
            continue
        for other in rooms_imported(path):
            upward = FLOORS[other] >= FLOORS[room] and other != room and (room, other) not in SAME_GROUND
            if upward:
                wrong.append(f"{path.relative_to(ROOT)} imports {other}")
    assert not wrong, wrong


def test_every_room_has_a_floor_and_no_room_is_a_lumber_room() -> None:
    rooms = {room_of(path) for path in ROOT.rglob("*.py")} - {"__init__"}
    assert rooms == set(FLOORS)
    assert not rooms & {"utils", "misc", "base", "helpers", "common"}


def test_only_devices_asks_for_devices() -> None:
    for path in ROOT.rglob("*.py"):
        if room_of(path) != "devices":
            text = path.read_text("utf-8")
            assert "jax.devices(" not in text, path
            assert "jax.local_devices(" not in text, path


def test_nothing_is_printed_and_nothing_unpickled() -> None:
    for path in ROOT.rglob("*.py"):
        calls = [node for node in ast.walk(ast.parse(path.read_text("utf-8"))) if isinstance(node, ast.Call)]
        names = {node.func.id for node in calls if isinstance(node.func, ast.Name)}
        assert "print" not in names, path
        imported = path.read_text("utf-8")
        assert "import pickle" not in imported, path
        assert "import torch" not in imported, path
