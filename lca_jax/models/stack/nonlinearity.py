"""The element-wise functions a feed-forward part may have, by the names transformers gives them in a config."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float


def exact_gelu(states: Float[Array, "..."]) -> Float[Array, "..."]:
    """Computes x · Φ(x) with the normal distribution function Φ itself, as the first BERT models do.

    It uses erf, as PyTorch does: `jax.nn.gelu` uses erfc, which takes 2.3 times as long on CPU.
    """
    half = jnp.asarray(0.5, states.dtype)
    return states * half * (1 + jax.lax.erf(states * jnp.asarray(0.5**0.5, states.dtype)))


def tanh_gelu(states: Float[Array, "..."]) -> Float[Array, "..."]:
    """Computes x · Φ(x) with Φ approximated by a tanh.

    The result differs by up to 5e-4 from the exact one, which is enough for parity tests to tell them apart.
    """
    return jax.nn.gelu(states, approximate=True)


def quick_gelu(states: Float[Array, "..."]) -> Float[Array, "..."]:
    """Computes x · σ(1.702 x), the coarsest approximation of x · Φ(x)."""
    return states * jax.nn.sigmoid(jnp.asarray(1.702, states.dtype) * states)


def clipped_gelu(states: Float[Array, "..."]) -> Float[Array, "..."]:
    """Computes x · Φ(x), cut off at 10: the form for models in whole numbers (Wu et al. 2020)."""
    return jnp.clip(exact_gelu(states), -10, 10)


def laplace(states: Float[Array, "..."]) -> Float[Array, "..."]:
    """Computes the normal distribution function of mean √½ and variance 1 / 4π (Ma et al. 2023, MEGA)."""
    scaled = (states - jnp.asarray(0.707107, states.dtype)) / jnp.asarray(0.282095 * 2**0.5, states.dtype)
    return jnp.asarray(0.5, states.dtype) * (1 + jax.lax.erf(scaled))


NONLINEARITIES: dict[str, Callable[[Float[Array, "..."]], Float[Array, "..."]]] = {
    "gelu": exact_gelu,
    "gelu_10": clipped_gelu,
    "gelu_accurate": tanh_gelu,
    "gelu_fast": tanh_gelu,
    "gelu_new": tanh_gelu,
    "gelu_python": exact_gelu,
    "gelu_python_tanh": tanh_gelu,
    "gelu_pytorch_tanh": tanh_gelu,
    "hardswish": jax.nn.hard_swish,
    "laplace": laplace,
    "leaky_relu": jax.nn.leaky_relu,
    "linear": lambda states: states,
    "mish": jax.nn.mish,
    "quick_gelu": quick_gelu,
    "relu": jax.nn.relu,
    "relu2": lambda states: jnp.square(jax.nn.relu(states)),
    "relu6": jax.nn.relu6,
    "sigmoid": jax.nn.sigmoid,
    "silu": jax.nn.silu,
    "sqrtsoftplus": lambda states: jnp.sqrt(jax.nn.softplus(states)),
    "swish": jax.nn.silu,
    "tanh": jnp.tanh,
}
"""All that transformers knows but `prelu` and `xielu`, which have parameters of their own."""
