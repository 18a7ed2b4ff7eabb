"""Which device works on which problem between the products with X.

Words are divided among the devices, so the products with X are too, and their sums are exchanged. What follows needs no
words: the inner steps of a problem, its certificate and the choice between its weights touch no other problem. Where
every device can have as many problems as any other, each does this work for its own ones alone and holds their weights
alone. Where there are fewer problems than devices, as many devices as can have alike many each work on the same ones:
16 problems on 256 devices are 16 groups of 16 devices, each with one problem. An iteration adds the gradients up where
their problem is and sends the proposed weights to all devices: twice the bytes of the weights on a ring. Groups also
make three arrays whole again, once for all iterations of a program.
"""

import math
from collections.abc import Callable
from typing import NamedTuple

import jax
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec
from jaxtyping import Array, Float

from lca_jax.machine.devices import platform_of
from lca_jax.probing.matrix.block import Block, correlations
from lca_jax.probing.solvers.state import Proposal, State


class Share(NamedTuple):
    """How the problems of a batch are divided among the devices."""

    words: Mesh
    """The devices as words are divided among them."""
    groups: Mesh | None
    """The same devices, in the same order, as groups that work on different problems; None where each device is one.
    Groups hold no weights between two programs: the arrays of a batch all lie on the other mesh, as JAX wants it."""
    in_rounds: bool = False
    """Whether the sums of gradients go around in two rounds, along the columns of a rectangle of devices and then along
    its rows, each device keeping its part: together little more than the bytes of the weights. JAX lays a mesh row by
    row on a torus of TPUs. Left to itself their compiler adds up all sums on every device of a square torus, which is
    twice as much; GPUs add up in one round."""


def share_of(mesh: Mesh, problems: int) -> Share | None:
    """Returns how a batch is divided among the devices by problem; None where every device has all problems."""
    groups = math.gcd(problems, mesh.size)
    if groups == 1:
        return None
    if groups == mesh.size:
        return Share(mesh, None, in_rounds=platform_of(mesh) == "tpu" and mesh.shape["data"] == mesh.size)
    devices = np.asarray(mesh.devices).reshape(groups, -1)
    return Share(mesh, Mesh(devices, ("problem", "copy"), axis_types=(AxisType.Auto, AxisType.Auto)))


def by_problem(share: Share, axis: int) -> NamedSharding:
    """Returns how an array lies where its problem is worked on, given the number of its axis of problems."""
    before = [None] * axis
    if share.groups is None:
        return NamedSharding(share.words, PartitionSpec(*before, share.words.axis_names))
    return NamedSharding(share.groups, PartitionSpec(*before, "problem"))


def worked_on(weights: Float[Array, "problem class feature"], share: Share | None) -> Array:
    """Puts weights where their problem is worked on, inside a compiled program."""
    if share is None:
        return weights
    # Without the barrier the compiler sends to all devices whatever such an array is made of, and makes it there.
    return jax.lax.optimization_barrier(jax.lax.with_sharding_constraint(weights, by_problem(share, 0)))


def correlations_of(share: Share | None) -> Callable[[Block, Array], Array]:
    """Returns `correlations`, whose sums over words are added up as it was chosen; for one layer, in a program."""
    if share is None or not share.in_rounds:
        return correlations
    devices = np.arange(share.words.size)
    rows = max(rows for rows in range(1, math.isqrt(len(devices)) + 1) if len(devices) % rows == 0)
    rectangle = devices.reshape(rows, -1)
    rounds = [groups.tolist() for groups in (rectangle.T, rectangle) if groups.shape[1] > 1]

    def here(block: Block, R: Array) -> Array:
        sums = correlations(block, R)
        for groups in rounds:
            sums = jax.lax.psum_scatter(sums, "data", axis_index_groups=groups, tiled=True)
        return sums

    first, everywhere = PartitionSpec("data"), PartitionSpec()
    specs = (Block(first, everywhere, everywhere), PartitionSpec(None, None, "data"))  # pyright: ignore[reportArgumentType] - specs in the place of arrays
    return jax.shard_map(here, mesh=share.words, in_specs=specs, out_specs=first, check_vma=False)


def handed_over(proposal: Proposal, share: Share | None) -> Proposal:
    """Sends what groups of devices made to all devices."""
    if share is None or share.groups is None:
        return proposal
    return jax.tree.map(lambda array: _placed(array, share), proposal)


def shareable(problems: int, mesh: Mesh) -> int:
    """Returns the next smaller number of problems that can be shared out.

    It is the same number where there are no more problems than devices.
    """
    return problems - problems % mesh.size if problems > mesh.size else problems


def shared_out(weights: Float[Array, "*layer problem class feature"], share: Share | None) -> Array:
    """Puts weights where each device has its own problems, in a compiled program; of groups every device has all."""
    if share is None or share.groups is not None:
        return weights
    placed = jax.lax.with_sharding_constraint(weights, by_problem(share, weights.ndim - 3))
    return jax.lax.optimization_barrier(placed)


def state_shared_out(state: State, share: Share | None) -> State:
    """Puts weights and gradients where their problem is worked on, scores with their words, and the rest everywhere.

    A state that lies the same before and after every program needs each program once.
    """
    if share is None:
        return state
    names = ("W", "W_before", "gradient")
    place = shared_out if share.groups is None else _placed
    weights = {name: place(getattr(state, name), share) for name in names}
    words = [None] * (state.W.ndim - 1)
    scores = jax.tree.map(lambda array: _placed(array, share, *words, "data"), state.scores)
    others = jax.tree.map(lambda array: _placed(array, share), state._replace(scores=None, **dict.fromkeys(names)))
    return others._replace(scores=scores, **weights)


def _placed(array: Array, share: Share, *axes: str | tuple[str, ...] | None) -> Array:
    return jax.lax.with_sharding_constraint(array, NamedSharding(share.words, PartitionSpec(*axes)))
