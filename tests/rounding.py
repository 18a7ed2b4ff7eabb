"""Runs a function as an accelerator may: coarse where no precision is named, fine where rounding may be skipped.

Two liberties that the compilers of accelerators take and the one of the CPU does not, so that no other test sees them:

- A product of float32 without a named precision is computed from factors rounded to bfloat16, as on a TPU.
- float32 → bfloat16 → float32 is removed as if nothing were rounded, as on a GPU; `jax.lax.reduce_precision` is kept.

The function is traced, and its operations are run one by one with these liberties taken.
"""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax.extend.core import ClosedJaxpr, Jaxpr, Literal


def as_accelerators_compute(function: Callable[..., Any]) -> Callable[..., Any]:
    """Returns the function with both liberties taken in all that it computes, loops and calls included."""

    def run(*arrays: Any) -> Any:
        closed, shapes = jax.make_jaxpr(function, return_shape=True)(*arrays)
        results = _run_closed(closed, jax.tree.leaves(arrays))
        return jax.tree.unflatten(jax.tree.structure(shapes), results)

    return jax.jit(run)


def _run_closed(closed: ClosedJaxpr, arrays: Sequence[Any]) -> list[Any]:
    return _run(closed.jaxpr, closed.consts, arrays)


def _run(jaxpr: Jaxpr, consts: Sequence[Any], arrays: Sequence[Any]) -> list[Any]:
    values: dict[Any, Any] = dict(zip([*jaxpr.constvars, *jaxpr.invars], [*consts, *arrays], strict=True))
    unrounded: dict[Any, Any] = {}

    def read(variable: Any) -> Any:
        return variable.val if isinstance(variable, Literal) else values[variable]

    for equation in jaxpr.eqns:
        name, inputs = equation.primitive.name, list(map(read, equation.invars))
        if name == "convert_element_type" and not isinstance(equation.invars[0], Literal):
            source, kinds = equation.invars[0], (inputs[0].dtype, equation.params["new_dtype"])
            if kinds == (jnp.float32, jnp.bfloat16):
                unrounded[equation.outvars[0]] = inputs[0]
            if kinds == (jnp.bfloat16, jnp.float32) and source in unrounded:
                values[equation.outvars[0]] = unrounded[source]
                continue
        values.update(zip(equation.outvars, _apply(equation, name, inputs), strict=True))
    return list(map(read, jaxpr.outvars))


def _apply(equation: Any, name: str, inputs: list[Any]) -> Sequence[Any]:
    """Returns the results of one operation."""
    params = equation.params
    if name == "while":
        return _while(params, inputs)
    if name == "scan":
        return _scan(params, inputs)
    inner = params.get("jaxpr") or params.get("call_jaxpr")
    if inner is not None:
        return _run_closed(inner, inputs) if isinstance(inner, ClosedJaxpr) else _run(inner, [], inputs)
    if name == "dot_general" and params["precision"] is None:
        inputs = [array.astype(jnp.bfloat16).astype(array.dtype) for array in map(_rounded, inputs)]
    results = equation.primitive.bind(*inputs, **params)
    return results if equation.primitive.multiple_results else [results]


def _rounded(array: Any) -> Any:
    """Rounds float32 to the digits of bfloat16, so that the compiler of this test keeps it."""
    return jax.lax.reduce_precision(array, 8, 7) if array.dtype == jnp.float32 else array


def _while(params: Any, inputs: list[Any]) -> Sequence[Any]:
    of_condition, of_body = params["cond_nconsts"], params["body_nconsts"]
    condition_consts, rest = inputs[:of_condition], inputs[of_condition:]
    body_consts, carried = rest[:of_body], rest[of_body:]
    return jax.lax.while_loop(
        lambda state: _run_closed(params["cond_jaxpr"], [*condition_consts, *state])[0],
        lambda state: _run_closed(params["body_jaxpr"], [*body_consts, *state]),
        carried,
    )


def _scan(params: Any, inputs: list[Any]) -> Sequence[Any]:
    consts, carries = params["num_consts"], params["num_carry"]

    def step(carried: Sequence[Any], each: Sequence[Any]) -> tuple[Sequence[Any], Sequence[Any]]:
        results = _run_closed(params["jaxpr"], [*inputs[:consts], *carried, *each])
        return results[:carries], results[carries:]

    carried, stacked = jax.lax.scan(
        step,
        inputs[consts : consts + carries],
        inputs[consts + carries :],
        length=params["length"],
        reverse=params["reverse"],
    )
    return [*carried, *stacked]
