"""The text of every file of the package, parsed."""

import ast
from pathlib import Path

import lca_jax

ROOT = Path(lca_jax.__file__).parent
FILES = sorted(ROOT.rglob("*.py"))
TREES = {path: ast.parse(path.read_text("utf-8")) for path in FILES}
