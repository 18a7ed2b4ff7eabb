"""The matrices, tables and norms that all modules of the stack are made of, in the precision of its config."""

import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from lca_jax.machine.precision import precision_of
from lca_jax.models.stack.config import StackConfig


def linear(config: StackConfig, inputs: int, outputs: int, *, bias: bool, rngs: nnx.Rngs) -> nnx.Linear:
    """Makes a matrix (input, output), with or without a bias."""
    return nnx.Linear(
        inputs,
        outputs,
        use_bias=bias,
        param_dtype=jnp.dtype(config.dtype),
        kernel_init=nnx.initializers.normal(config.initializer_range),
        precision=precision_of(config.dtype),  # pyright: ignore[reportArgumentType] - JAX takes algorithms too
        rngs=rngs,
    )


def table(config: StackConfig, count: int, width: int, *, rngs: nnx.Rngs) -> nnx.Embed:
    """Makes a table of `count` vectors; an index beyond it reads as NaN."""
    return nnx.Embed(
        count,
        width,
        param_dtype=jnp.dtype(config.dtype),
        embedding_init=nnx.initializers.normal(config.initializer_range),
        rngs=rngs,
    )


def norm(config: StackConfig, width: int, *, rngs: nnx.Rngs) -> nnx.LayerNorm | nnx.RMSNorm:
    """Makes a norm of the stack's kind, with parameters in float32."""
    if config.norm.kind == "rms":
        return nnx.RMSNorm(width, epsilon=config.norm.epsilon, rngs=rngs)
    # The variance about the mean costs no more here than E[x²] - E[x]², and keeps its digits beside huge neurons.
    return nnx.LayerNorm(
        width, epsilon=config.norm.epsilon, use_bias=config.norm.bias, use_fast_variance=False, rngs=rngs
    )


def normalize(
    norm: nnx.LayerNorm | nnx.RMSNorm, states: Float[Array, "*place neuron"]
) -> Float[Array, "*place neuron"]:
    """Normalises over the last axis, in float32 whatever the precision of the states."""
    return norm(states.astype(jnp.float32)).astype(states.dtype)
