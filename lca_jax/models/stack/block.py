"""One block of the stack: attention and a feed-forward part, each added to the states, with norms around them.

The block of a decoder has a third part between them: attention to the states of the encoder.
"""

from flax import nnx
from jaxtyping import Array, Float

from lca_jax.models.stack.attention import Attention, EncoderStates, View
from lca_jax.models.stack.config import StackConfig
from lca_jax.models.stack.layers import linear, norm, normalize
from lca_jax.models.stack.memory import Memory
from lca_jax.models.stack.nonlinearity import NONLINEARITIES
from lca_jax.models.stack.recurrence import Recurrence
from lca_jax.models.stack.taps import Taps

States = Float[Array, "row slot neuron"]


class Mlp(nnx.Module):
    """The feed-forward part; the site `mlp` is the input of its last matrix."""

    def __init__(self, config: StackConfig, *, rngs: nnx.Rngs) -> None:
        shape, width = config.mlp, config.residual_width
        self.activate = NONLINEARITIES[shape.activation]
        self.gated = shape.gated
        self.expand = linear(config, width, shape.width, bias=shape.bias, rngs=rngs)
        if shape.gated:
            self.gate = linear(config, width, shape.width, bias=shape.bias, rngs=rngs)
        self.contract = linear(config, shape.width, width, bias=shape.bias, rngs=rngs)

    def __call__(self, states: States, *, layer: int, taps: Taps) -> States:
        """Computes what the feed-forward part adds to the states."""
        units = (
            self.activate(self.gate(states)) * self.expand(states) if self.gated else self.activate(self.expand(states))
        )
        return self.contract(taps("mlp", layer, units))


class Block(nnx.Module):
    """Attention and feed-forward part in the arrangement that the config names (`StackConfig.arrangement`)."""

    def __init__(self, config: StackConfig, *, first: bool, rngs: nnx.Rngs) -> None:
        self.arrangement = config.arrangement
        self.attention = (
            Recurrence(config, rngs=rngs)
            if config.mixing == "recurrence"
            else Attention(config, site="attention", rngs=rngs)
        )
        self.cross = Attention(config, site="cross", rngs=rngs) if config.cross else None
        self.cross_norm = norm(config, config.residual_width, rngs=rngs) if config.cross else None
        self.mlp = Mlp(config, rngs=rngs)
        self.normalize_first = not first or config.first_attention_norm
        if self.normalize_first:
            self.attention_norm = norm(config, config.residual_width, rngs=rngs)
        self.mlp_norm = norm(config, config.residual_width, rngs=rngs)
        if config.arrangement == "sandwich":
            self.attention_after_norm = norm(config, config.residual_width, rngs=rngs)
            self.mlp_after_norm = norm(config, config.residual_width, rngs=rngs)

    def __call__(
        self, states: States, *, view: View, encoder: EncoderStates | None, layer: int, taps: Taps, memory: Memory
    ) -> States:
        """Returns the next hidden states."""

        def attention(states: States) -> States:
            return taps.drop(self.attention(states, view=view, layer=layer, taps=taps, memory=memory))

        def mlp(states: States) -> States:
            return taps.drop(self.mlp(states, layer=layer, taps=taps))

        def cross(states: States) -> States:
            if self.cross is None or self.cross_norm is None or encoder is None:
                return states
            if self.arrangement == "post_norm":
                read = self.cross.read(encoder, states, layer=layer, taps=taps, memory=memory)
                return normalize(self.cross_norm, states + read)
            normal = normalize(self.cross_norm, states)
            return states + self.cross.read(encoder, normal, layer=layer, taps=taps, memory=memory)

        if self.arrangement == "post_norm":
            states = cross(normalize(self.attention_norm, states + attention(states)))
            return normalize(self.mlp_norm, states + mlp(states))
        read = normalize(self.attention_norm, states) if self.normalize_first else states
        if self.arrangement == "parallel":
            return states + attention(read) + mlp(normalize(self.mlp_norm, states))
        if self.arrangement == "sandwich":
            states = states + normalize(self.attention_after_norm, attention(read))
            return states + normalize(self.mlp_after_norm, mlp(normalize(self.mlp_norm, states)))
        states = cross(states + attention(read))
        return states + mlp(normalize(self.mlp_norm, states))
