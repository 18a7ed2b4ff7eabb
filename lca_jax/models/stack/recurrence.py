"""Mixing of pieces by a recurrence instead of attention: the unit (SSRU) of fast translation decoders.

Source: Kim et al. 2019 ("From Research to Production and Back"), section 3.1. With a forget gate f = sigmoid(F x + b),

    c(t) = f(t) · c(t - 1) + (1 - f(t)) · W x(t)            what is added to the states is relu(c(t))

A window starts with c = 0. Where all pieces are known c is a linear recurrence, computed by an associative scan: two
products of matrices and 2 · log2(slots) passes over (row, slot, neuron).
"""

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from lca_jax.models.stack.attention import View
from lca_jax.models.stack.config import StackConfig
from lca_jax.models.stack.layers import linear
from lca_jax.models.stack.memory import Memory
from lca_jax.models.stack.taps import Taps

States = Float[Array, "row slot neuron"]


class Recurrence(nnx.Module):
    """Stands where attention stands elsewhere; the site `attention` is relu(c), which has no matrix after it."""

    def __init__(self, config: StackConfig, *, rngs: nnx.Rngs) -> None:
        width = config.residual_width
        self.forget = linear(config, width, width, bias=True, rngs=rngs)
        self.input = linear(config, width, width, bias=False, rngs=rngs)

    def __call__(self, states: States, *, view: View, layer: int, taps: Taps, memory: Memory) -> States:
        """Computes what the recurrence adds to the states."""
        assert view.starts is not None
        forget = jax.nn.sigmoid(self.forget(states))
        new = (1 - forget) * self.input(states)
        # What a slot carries is kept · (what came before the first slot) + made.
        kept, made = jax.lax.associative_scan(_follow, (jnp.where(view.starts[:, :, None], 0, forget), new), axis=1)
        before = memory.before(layer)
        carried = made if before is None else kept * before + made
        memory.extend(layer, carried)
        return taps("attention", layer, jax.nn.relu(carried))


def _follow(first: tuple[States, States], second: tuple[States, States]) -> tuple[States, States]:
    """Two steps c -> kept · c + made, one after the other, as one."""
    return first[0] * second[0], second[0] * first[1] + second[1]
