"""Names the precision of matrix products, as the only module that does.

Accelerators compute products of float32 coarsely unless they are told otherwise: a TPU from factors rounded to
bfloat16, once. So every product of this package names one of these; `tests/test_products.py` looks for those that do
not.

A GPU has two ways to make a product of float32: by its units of float32, or on its matrix units in six passes in
bfloat16, on paper 2.5 times as fast on an H100. `float32_way` chooses. The passes are taken where a program is for one
GPU: in one for several, JAX's partitioner (Shardy, 0.10.2) forgets how a product is to be made, and it would be made in
TF32, with a thousandth of error, without a word. `tests/compiled` watches this. A model runs on the devices of its
process, so processes of one GPU each read texts in passes. Whoever sets `JAX_USE_SHARDY_PARTITIONER=0` has the passes
on several GPUs too.

Three passes in TF32 (`IN_TF32_PASSES`) are as fast on paper: 495 / 3 = 989 / 6 = 165 TFLOP/s on an H100. The six in
bfloat16 are taken, since they keep 24 bits of a factor and those in TF32 22. Emulated with exact sums, of 64 to 204,800
products, they are 4e-9 to 6e-9 from float64 (by norm), those in TF32 7e-8 to 9e-8. With sums in float32 the six are .4
to 1.1 times as far as NumPy's float32, and the three 1.0 to 1.2 times (`tests/machine/test_precision.py`). No GPU was
there to measure either.
"""

from contextlib import AbstractContextManager
from functools import cache
from typing import TypeAlias

import jax
import jax.numpy as jnp
from jax.typing import DTypeLike

ProductPrecision: TypeAlias = jax.lax.Precision | jax.lax.DotAlgorithmPreset
"""What `precision` of a product takes."""
FLOAT32 = jax.lax.Precision.HIGHEST
"""float32 means float32: six passes in bfloat16 on a TPU, the units of float32 on a GPU."""
IN_PASSES = jax.lax.DotAlgorithmPreset.BF16_BF16_F32_X6
"""float32 on the matrix units of a GPU: of each factor three parts in bfloat16, and the six largest of their nine
products, summed in float32. Its error is that of float32 products (`tests/machine/test_precision.py`)."""
IN_TF32_PASSES = jax.lax.DotAlgorithmPreset.TF32_TF32_F32_X3
"""The same of two parts in TF32, and three of their four products. Taken where JAX's setting asks for it by name."""
NARROW = jax.lax.Precision.DEFAULT
"""One pass, for factors of a narrow type: products of two bfloat16 numbers are exact, and summed in the type that is
asked for."""
_FIRST_WITH_BFLOAT16 = 8.0
"""Compute capability of the first GPUs whose matrix units take bfloat16 (A100, L4)."""


def float32_way(devices: int | None = None) -> ProductPrecision:
    """Returns how large products of float32 are made: `FLOAT32`, or `IN_PASSES` where they are safe and faster.

    JAX's own setting decides before the devices do: under `jax.default_matmul_precision("highest")` it is `FLOAT32`,
    under "BF16_BF16_F32_X6" `IN_PASSES`, such as for a program that is compiled for a GPU which is not here, and under
    "TF32_TF32_F32_X3" `IN_TF32_PASSES`.

    Args:
        devices: Devices that the program is for; None for all of the job, as those of the solver are.
    """
    chosen = jax.config.jax_default_matmul_precision  # pyright: ignore[reportAttributeAccessIssue] - made by JAX
    for passes in (IN_PASSES, IN_TF32_PASSES):
        if chosen == passes.name:
            return passes
    kept = (devices or jax.device_count()) == 1 or not getattr(jax.config, "jax_use_shardy_partitioner", True)
    return IN_PASSES if chosen is None and kept and _passes_pay() else FLOAT32


def precision_of(dtype: DTypeLike) -> ProductPrecision:
    """Returns the precision in which a model multiplies factors of its type."""
    return float32_way(jax.local_device_count()) if jnp.dtype(dtype) == jnp.float32 else NARROW


def products_in(precision: ProductPrecision) -> AbstractContextManager[None]:
    """Names the precision of products that have no room for a name: those inside a kernel of JAX's own."""
    return jax.default_matmul_precision(precision.name.lower())


@cache
def _passes_pay() -> bool:
    """Whether the devices are NVIDIA's, with matrix units that take bfloat16."""
    device = jax.local_devices()[0]
    if device.platform not in ("gpu", "cuda") or "NVIDIA" not in device.device_kind:
        return False
    return float(device.compute_capability) >= _FIRST_WITH_BFLOAT16
