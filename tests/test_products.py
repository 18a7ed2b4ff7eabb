"""Every product of matrices names its precision: in the text of every file, and in the programs of every model family.

An accelerator computes a product without one coarsely (`machine.precision`), and a CPU does not, so that no other test
would see it.
"""

import ast
from collections.abc import Iterator

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.extend.core import ClosedJaxpr, Jaxpr
from transformers import AutoConfig

from lca_jax.machine.precision import FLOAT32, NARROW
from lca_jax.models.families import FAMILIES
from lca_jax.models.stack.config import Precision, StackConfig
from lca_jax.models.stack.stack import Batch, Params, build, predict_pieces
from lca_jax.probing.choices import loss_named
from lca_jax.probing.problems import Problems
from tests.sources import ROOT, TREES
from tests.tiny_models import TINY

PRODUCTS = {"dot", "dot_general", "einsum", "inner", "matmul", "matvec", "tensordot", "vdot", "vecdot", "vecmat"}
PRODUCTS |= {"conv", "conv_general_dilated", "convolve", "correlate", "corrcoef", "cov", "multi_dot", "matrix_power"}
PRODUCTS |= {"dot_product_attention", "Linear", "LinearGeneral", "Einsum", "Conv", "MultiHeadAttention", "ragged_dot"}
MODULES = {"jax", "jnp", "lax", "nnx"}
"""The names under which the package knows what makes products on devices."""
JAX_NUMPY = "jax.numpy"


def root_of(node: ast.expr) -> str:
    """The name with which a dotted name begins."""
    while isinstance(node, ast.Attribute):
        node = node.value
    return node.id if isinstance(node, ast.Name) else ""


def root_of_call(node: ast.expr) -> str:
    """The name of a function that is called, if it has a plain one."""
    return root_of(node.func) if isinstance(node, ast.Call) else ""


def unnamed(tree: ast.Module) -> Iterator[int]:
    """The lines of products without a named precision."""
    imports = [node for node in ast.walk(tree) if isinstance(node, ast.Import)]
    on_devices = any(alias.name == JAX_NUMPY for node in imports for alias in node.names)
    named = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and "precision" in {keyword.arg for keyword in node.keywords}:
            of_partial = isinstance(node.func, ast.Name) and node.func.id == "partial"
            named.add(node.args[0] if of_partial else node.func)
        elif isinstance(node, ast.With) and any(
            root_of_call(item.context_expr) == "products_in" for item in node.items
        ):
            named.update(part for inside in node.body for part in ast.walk(inside) if isinstance(part, ast.Attribute))
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and node.attr in PRODUCTS:
            # The method of an array, `X.dot`, has no room for a precision where X is on a device.
            on_device = root_of(node) in MODULES or (on_devices and node.attr == "dot" and root_of(node) != "np")
            if on_device and node not in named and not is_type(node, tree):
                yield node.lineno
        elif isinstance(node, ast.BinOp | ast.AugAssign) and isinstance(node.op, ast.MatMult) and on_devices:
            yield node.lineno  # that it multiplies numbers of the host cannot be seen: `np.dot` says so
        elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith("jax"):
            yield from (node.lineno for alias in node.names if alias.name in PRODUCTS)


def is_type(node: ast.Attribute, tree: ast.Module) -> bool:
    """Whether a name stands in an annotation or in `isinstance`, and nothing is made of it."""
    places: list[ast.AST | None] = []
    for other in ast.walk(tree):
        if isinstance(other, ast.arg | ast.AnnAssign):
            places.append(other.annotation)
        elif isinstance(other, ast.FunctionDef):
            places.append(other.returns)
        elif isinstance(other, ast.Call) and isinstance(other.func, ast.Name) and other.func.id == "isinstance":
            places.append(other.args[1])
    return any(node is part for place in places if place is not None for part in ast.walk(place))


@pytest.mark.parametrize(
    ("line", "named"),
    [
        ("jnp.einsum('ij,jk->ik', A, B)", False),
        ("jnp.einsum('ij,jk->ik', A, B, precision=FLOAT32)", True),
        ("partial(jnp.matmul, precision=FLOAT32)", True),
        ("partial(jnp.matmul, A)", False),
        ("jnp.dot(A, B, **options)", False),
        ("multiply = jax.lax.dot_general", False),
        ("A @ B", False),
        ("np.dot(A, B)", True),
        ("A.dot(B)", False),
        ("nnx.Linear(3, 4, rngs=rngs)", False),
        ("def f(layer: nnx.Linear) -> nnx.Linear: ...", True),
        ("from jax.numpy import tensordot", False),
        ("with products_in(NARROW):\n    jax.nn.dot_product_attention(q, k, v)", True),
        ("with other(NARROW):\n    jax.nn.dot_product_attention(q, k, v)", False),
    ],
)
def test_the_search_finds_what_it_should(line: str, named: bool) -> None:
    assert (list(unnamed(ast.parse(f"import jax.numpy as jnp\n{line}"))) == []) is named


def test_every_product_in_the_package_names_its_precision() -> None:
    wrong = [f"{path.relative_to(ROOT)}:{line}" for path, tree in TREES.items() for line in unnamed(tree)]
    assert not wrong, "products without `precision=` of machine.precision:\n" + "\n".join(wrong)


def test_one_file_says_what_the_names_mean() -> None:
    naming = [
        path for path in TREES if any(name in path.read_text("utf-8") for name in ("lax.Precision", "DotAlgorithm"))
    ]
    assert [str(path.relative_to(ROOT)) for path in naming] == ["machine/precision.py"]


def products_of(jaxpr: Jaxpr) -> Iterator[object]:
    """The precisions of all products of a program, those in its loops and calls included."""
    for equation in jaxpr.eqns:
        if equation.primitive.name in ("dot_general", "conv_general_dilated", "ragged_dot_general"):
            yield equation.params["precision"]
        for value in jax.tree.leaves(tuple(equation.params.values()), is_leaf=is_program):
            if is_program(value):
                yield from products_of(value.jaxpr if isinstance(value, ClosedJaxpr) else value)


def is_program(value: object) -> bool:
    return isinstance(value, ClosedJaxpr | Jaxpr)


@pytest.mark.parametrize("name", list(TINY))
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_every_product_of_every_family_has_the_precision_of_its_numbers(name: str, dtype: Precision) -> None:
    tiny = TINY[name]
    config = FAMILIES[tiny.model_type].read_config(AutoConfig.for_model(tiny.model_type, **tiny.changes), dtype)
    precisions = precisions_of_family(config)
    expected = FLOAT32 if dtype == "float32" else NARROW
    assert len(precisions) > 10
    assert set(precisions) == {(expected, expected)}


def precisions_of_family(config: StackConfig) -> list[object]:
    graph, params = build(config)
    row = jax.ShapeDtypeStruct((2, 12), jnp.int32)

    def predict(params: Params, batch: Batch) -> jax.Array:
        return predict_pieces(graph, params, batch, targets=batch if config.decoder else None)

    batch = Batch(row, row, row)  # pyright: ignore[reportArgumentType] - shapes in the place of arrays
    return list(products_of(jax.make_jaxpr(predict)(params, batch).jaxpr))


def test_every_product_of_a_loss_names_its_precision() -> None:
    ones = jnp.ones(2)
    problems = Problems(jnp.zeros((2, 50), int), None, jnp.full((2, 2), 0.5), ones, ones, jnp.ones((2, 3)), ones)
    X_W, bias = np.zeros((2, 2, 50), np.float32), np.zeros((2, 2), np.float32)
    program = jax.make_jaxpr(loss_named("cross_entropy").fit_bias)(X_W, bias, problems)
    precisions = list(products_of(program.jaxpr))
    assert precisions
    assert set(precisions) == {(FLOAT32, FLOAT32)}
