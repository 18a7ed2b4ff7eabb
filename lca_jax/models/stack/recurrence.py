"""A recurrence in place of attention: the simplified simple recurrent unit (SSRU) of fast translation decoders.

Source: Kim et al. 2019 ("From Research to Production and Back"), section 3.1. With a forget gate f = sigmoid(F x + b),

    c(t) = f(t) · c(t - 1) + (1 - f(t)) · W x(t)            and relu(c(t)) is added to the states

A window starts with c = 0. Where all pieces are known, c is a linear recurrence, computed by an associative scan: two
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
    """Takes the place of attention in a block; the site `attention` is relu(c), which no matrix follows."""

    def __init__(self, config: StackConfig, *, rngs: nnx.Rngs) -> None:
        width = config.residual_width
        self.forget = linear(config, width, width, bias=True, rngs=rngs)
        self.input = linear(config, width, width, bias=False, rngs=rngs)

    def __call__(self, states: States, *, view: View, layer: int, taps: Taps, memory: Memory) -> States:
        """Computes what the recurrence adds to the states."""
        assert view.starts is not None
        forget = jax.nn.sigmoid(self.forget(states))
        new = (1 - forget) * self.input(states)
        # The carried state of a slot is decay · (the state before the first slot) + total.
        decay, total = jax.lax.associative_scan(_follow, (jnp.where(view.starts[:, :, None], 0, forget), new), axis=1)
        before = memory.state_before(layer)
        carried = total if before is None else decay * before + total
        memory.extend(layer, carried)
        return taps("attention", layer, jax.nn.relu(carried))


def _follow(first: tuple[States, States], second: tuple[States, States]) -> tuple[States, States]:
    """Joins two steps c -> decay · c + total, taken one after the other, into one."""
    return first[0] * second[0], second[0] * first[1] + second[1]
