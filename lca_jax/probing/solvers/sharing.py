"""Which device works on which problem between the products with X.

Words are divided among the devices, so the products with X are too, and their sums are exchanged. What follows needs no
words: the inner steps of a problem, its certificate and the choice between its weights touch no other problem. Where
every device can have as many problems as any other, each does this work for its own ones alone and holds their weights
alone. Beside the sums of the gradients an iteration then sends the proposed weights to all devices, which is half as
many bytes more.
"""

import jax
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from jaxtyping import Array, Float

from lca_jax.probing.solvers.state import State

Share = NamedSharding
"""How an array (problem, class, feature) lies on the devices."""


def share_of(mesh: Mesh, problems: int) -> Share | None:
    """Returns how weights are divided among the devices by problem; None where every device has all problems."""
    if mesh.size == 1 or problems % mesh.size:
        return None
    return NamedSharding(mesh, PartitionSpec(mesh.axis_names))


def shareable(problems: int, mesh: Mesh) -> int:
    """Returns the next smaller number of problems that can be shared out; the same number if all devices have fewer."""
    return problems - problems % mesh.size if problems > mesh.size else problems


def shared_out(weights: Float[Array, "*layer problem class feature"], share: Share | None) -> Array:
    """Puts weights where their problem is worked on, in a compiled program."""
    if share is None:
        return weights
    before = [None] * (weights.ndim - 3)
    # Without the barrier the compiler sends to all devices whatever such an array is made of, and makes it there.
    return jax.lax.optimization_barrier(_placed(weights, share, *before, *share.spec))


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
    return jax.lax.with_sharding_constraint(array, NamedSharding(share.mesh, PartitionSpec(*axes)))
