"""Dropout while a stack is trained: states are set to zero at random, and the others scaled up to keep their mean.

It stands where the transformers of the literature have it (Vaswani et al. 2017, section 5.4; Devlin et al. 2019): after
the embedding, on the weights of attention, and on what attention and the feed-forward part add to the states.
"""

from dataclasses import dataclass, field

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key


@dataclass(kw_only=True)
class Dropout:
    """One draw of masks for one run of a stack; every call draws another mask, in the order of the calls."""

    rate: float
    """Share of the numbers that become zero, in [0, 1)."""
    key: Key[Array, ""]
    """Key of the run: of the seed and the step."""
    calls: int = field(default=0, init=False)
    """Number of masks that were drawn; it counts while the run is traced."""

    def __call__(self, states: Float[Array, "..."]) -> Float[Array, "..."]:
        """Returns the states with a share of them set to zero, the others divided by the share that is kept."""
        if self.rate == 0:
            return states
        self.calls += 1
        kept = jax.random.bernoulli(jax.random.fold_in(self.key, self.calls), 1 - self.rate, states.shape)
        return jnp.where(kept, states / jnp.asarray(1 - self.rate, states.dtype), jnp.zeros((), states.dtype))
