"""The language model's head: turns the last hidden states into logits of pieces."""

import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from lca_jax.machine.precision import precision_of
from lca_jax.models.stack.config import HeadConfig, StackConfig
from lca_jax.models.stack.layers import linear, norm, normalize, table
from lca_jax.models.stack.nonlinearity import NONLINEARITIES


class Head(nnx.Module):
    """Computes logits as products with piece vectors: those of the embedding where the head is tied, else its own."""

    def __init__(self, config: StackConfig, shape: HeadConfig, *, rngs: nnx.Rngs) -> None:
        self.scale, self.softcap = shape.scale, shape.softcap
        self.precision = precision_of(config.dtype)
        self.activate = None if shape.transform is None else NONLINEARITIES[shape.transform]
        if self.activate is not None:
            self.transform = linear(config, config.residual_width, shape.width, bias=shape.transform_bias, rngs=rngs)
            self.norm = norm(config, shape.width, rngs=rngs)
        if not shape.tied:
            self.pieces = table(config, config.embedding.vocabulary, shape.width, rngs=rngs)
        self.tied = shape.tied
        self.bias = nnx.Param(jnp.zeros(config.embedding.vocabulary, jnp.dtype(config.dtype))) if shape.bias else None

    def __call__(
        self, states: Float[Array, "row slot neuron"], embedded: nnx.Embed
    ) -> Float[Array, "row slot vocabulary"]:
        """Computes float32 logits.

        Args:
            states: The last hidden states.
            embedded: The piece table of the embedding, which a tied head uses.
        """
        if self.activate is not None:
            states = normalize(self.norm, self.activate(self.transform(states)))
        if self.scale != 1.0:
            states = states * jnp.asarray(self.scale, states.dtype)
        pieces = (embedded if self.tied else self.pieces).embedding[...]
        logits = jnp.einsum("rsn,vn->rsv", states, pieces, precision=self.precision, preferred_element_type=jnp.float32)
        if self.bias is not None:
            logits = logits + self.bias[...].astype(jnp.float32)[None, None, :]
        return logits if self.softcap is None else self.softcap * jnp.tanh(logits / self.softcap)
