"""Which device works on which problem between the products with X.

Words are divided among the devices, so the products with X are too, and their sums are exchanged. What follows needs no
words: the inner steps of a problem, its certificate and the choice between its weights touch no other problem. Where
every device can have as many problems as any other, each does this work for its own ones alone and holds their weights
alone. Where there are fewer problems than devices, as many devices as can have alike many each work on the same ones:
16 problems on 256 devices are 16 groups of 16 devices, each with one problem. Beside the sums of the gradients an
iteration then sends the proposed weights to all devices, which is half as many bytes more.
"""

import math
from typing import NamedTuple

import jax
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec
from jaxtyping import Array, Float

from lca_jax.probing.solvers.state import State


class Share(NamedTuple):
    """How the arrays of a batch lie on the devices."""

    words: Mesh
    """The devices as words are divided among them."""
    groups: Mesh
    """The same devices, in the same order, as groups that work on different problems."""


def share_of(mesh: Mesh, problems: int) -> Share | None:
    """Returns how weights are divided among the devices by problem; None where every device has all problems."""
    groups = math.gcd(problems, mesh.size)
    if groups == 1:
        return None
    devices = np.asarray(mesh.devices).reshape(groups, -1)
    return Share(mesh, Mesh(devices, ("problem", "copy"), axis_types=(AxisType.Auto, AxisType.Auto)))


def by_problem(share: Share, axis: int) -> NamedSharding:
    """Returns how an array lies whose axis of this number is the one of problems."""
    return NamedSharding(share.groups, PartitionSpec(*[None] * axis, "problem"))


def shareable(problems: int, mesh: Mesh) -> int:
    """Returns the next smaller number of problems that can be shared out; the same number if all devices have fewer."""
    return problems - problems % mesh.size if problems > mesh.size else problems


def shared_out(weights: Float[Array, "*layer problem class feature"], share: Share | None) -> Array:
    """Puts weights where their problem is worked on, in a compiled program."""
    if share is None:
        return weights
    # Without the barrier the compiler sends to all devices whatever such an array is made of, and makes it there.
    return jax.lax.optimization_barrier(jax.lax.with_sharding_constraint(weights, by_problem(share, weights.ndim - 3)))


def state_shared_out(state: State, share: Share | None) -> State:
    """Puts weights and gradients where their problem is worked on, scores with their words, and the rest everywhere.

    A state that lies the same before and after every program needs each program once.
    """
    if share is None:
        return state
    names = ("W", "W_before", "gradient")
    weights = {name: shared_out(getattr(state, name), share) for name in names}
    words = [None] * (state.W.ndim - 1)
    scores = jax.tree.map(lambda array: _placed(array, share, *words, "data"), state.scores)
    others = jax.tree.map(lambda array: _placed(array, share), state._replace(scores=None, **dict.fromkeys(names)))
    return others._replace(scores=scores, **weights)


def _placed(array: Array, share: Share, *axes: str | tuple[str, ...] | None) -> Array:
    return jax.lax.with_sharding_constraint(array, NamedSharding(share.words, PartitionSpec(*axes)))
