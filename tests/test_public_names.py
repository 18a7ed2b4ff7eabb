"""What `import lca_jax` offers: every name resolves, is seen by checkers, and suggests itself when misspelt."""

import ast
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

import lca_jax

ROOT = Path(lca_jax.__file__).parent


def imports_for_checkers() -> dict[str, str]:
    """The module of each name that `__init__.py` imports for type checkers alone."""
    tree = ast.parse((ROOT / "__init__.py").read_text("utf-8"))
    (block,) = (
        node
        for node in tree.body
        if isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"
    )
    found = {}
    for node in block.body:
        assert isinstance(node, ast.ImportFrom)
        if node.module == "lca_jax":  # a module of functions, which is no name of another module
            continue
        for alias in node.names:
            assert alias.asname == alias.name, "a checker takes a name for public where it is imported as itself"
            found[alias.name] = node.module or ""
    return found


def test_checkers_and_the_table_know_the_same_names() -> None:
    assert {name: f"lca_jax.{module}" for name, module in lca_jax.MODULES.items()} == imports_for_checkers()
    assert list(lca_jax.MODULES) == lca_jax.__all__


@pytest.mark.parametrize("name", lca_jax.__all__)
def test_a_name_is_the_object_of_its_module(name: str) -> None:
    home = import_module(f"lca_jax.{lca_jax.MODULES[name]}")
    assert getattr(lca_jax, name) is getattr(home, name)
    assert getattr(lca_jax, name).__module__ == home.__name__
    assert getattr(lca_jax, name).__doc__


def test_no_name_is_a_room() -> None:
    # Importing a room sets it as an attribute of the package, over a public name that is called the same.
    rooms = {path.stem for path in ROOT.iterdir() if path.suffix == ".py" or (path / "__init__.py").exists()}
    assert "extraction" in rooms
    assert not rooms & set(lca_jax.MODULES)


def test_dir_lists_the_names_before_they_are_used() -> None:
    script = "import lca_jax, sys; print(*dir(lca_jax)); print(*sys.modules)"
    listed, loaded = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    ).stdout.splitlines()
    assert set(lca_jax.MODULES) <= set(listed.split())
    assert {name for name in loaded.split() if name.startswith("lca_jax.")} == set()


def test_an_unknown_name_suggests_a_similar_one() -> None:
    with pytest.raises(AttributeError, match=r"^module 'lca_jax' has no attribute 'rank_neuron'\. Did you mean: 'rank"):
        lca_jax.rank_neuron  # type: ignore  # noqa: B018
    with pytest.raises(AttributeError, match=r"^module 'lca_jax' has no attribute 'qqqqqqq'$"):
        lca_jax.qqqqqqq  # type: ignore  # noqa: B018
    with pytest.raises(ImportError, match="cannot import name 'rank_neuron'"):
        exec("from lca_jax import rank_neuron")
