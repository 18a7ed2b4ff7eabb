"""Names the precision of matrix products, as the only module that does.

Accelerators compute products of float32 coarsely unless they are told otherwise: a TPU from factors rounded to
bfloat16, once. So every product of this package names one of these; `tests/test_products.py` looks for those that do
not.
"""

from typing import TypeAlias

import jax
import jax.numpy as jnp
from jax.typing import DTypeLike

ProductPrecision: TypeAlias = jax.lax.Precision
"""What `precision` of a product takes."""
FLOAT32 = jax.lax.Precision.HIGHEST
"""float32 means float32: six passes in bfloat16 on a TPU, the units of float32 on a GPU."""
NARROW = jax.lax.Precision.DEFAULT
"""One pass, for factors of a narrow type: products of two bfloat16 numbers are exact, and summed in the type that is
asked for."""


def precision_of(dtype: DTypeLike) -> ProductPrecision:
    """Returns the precision in which factors of a type are multiplied as they are."""
    return FLOAT32 if jnp.dtype(dtype) == jnp.float32 else NARROW
