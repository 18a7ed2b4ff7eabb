"""Attention by a kernel beside the ordinary way: kinds of attention, packed rows, and programs that read long rows."""

from dataclasses import replace
from functools import partial
from itertools import pairwise
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from transformers import AutoConfig

from lca_jax.machine.devices import data_mesh, model_mesh
from lca_jax.machine.precision import FLOAT32, NARROW
from lca_jax.models.families import FAMILIES
from lca_jax.models.stack.attention import attend
from lca_jax.models.stack.config import Precision, StackConfig
from lca_jax.models.stack.fused import Kernel, Windows, attend_fused
from lca_jax.models.stack.positions import Places, visibility_bias
from lca_jax.models.stack.stack import Batch, Params, build, forward
from tests.tiny_models import TINY


class Case(NamedTuple):
    """A kind of attention."""

    causal: bool
    reach: int | None = None
    softcap: float | None = None
    key_heads: int = 2
    dtype: str = "float32"


def packed(rows: int, slots: int) -> Places:
    """Rows of windows of several lengths: one is full, the others end in padding, the last is padding alone."""
    segments, positions = np.zeros((2, rows, slots), np.int32)
    for row, cuts in enumerate([(0, 1, slots // 3, slots), (0, slots // 2, slots - 7), (0, 9)][: rows - 1]):
        for number, (start, end) in enumerate(pairwise(cuts), start=1):
            segments[row, start:end], positions[row, start:end] = number, np.arange(end - start)
    return Places(positions, segments)


def kernel_answers(case: Case, kernel: Kernel) -> None:
    """Asserts that a kernel answers as the ordinary way, on eight devices that share rows, and heads where they can."""
    rows, slots, heads, units = 4, 256, 2, 16
    generator = np.random.default_rng(0)
    query = generator.normal(size=(rows, slots, heads, units))
    key, value = generator.normal(size=(2, rows, slots, case.key_heads, units))
    arrays = [jnp.asarray(array, case.dtype) for array in (query, key, value)]
    places = packed(rows, slots)
    options = {"scale": 0.3, "softcap": case.softcap, "precision": FLOAT32 if case.dtype == "float32" else NARROW}
    windows = Windows(places.segments, case.causal, case.reach, model_mesh(2), kernel, interpret=True)
    found = np.asarray(jax.jit(partial(attend_fused, windows=windows, **options))(*arrays), np.float32)
    bias = visibility_bias(places, places, causal=case.causal, reach=case.reach)
    expected = np.asarray(attend(*arrays, bias=bias, drop=None, **options), np.float32)
    assert np.isfinite(found).all()
    # Numbers below 4 are rounded to bfloat16 by less than 1/64.
    atol = 1e-6 if case.dtype == "float32" else 2**-6
    within = places.segments > 0
    np.testing.assert_allclose(found[within], expected[within], rtol=0, atol=atol)


def config_of(name: str, dtype: Precision = "float32") -> StackConfig:
    """A tiny model whose heads are as wide as kernels take them."""
    tiny = TINY[name]
    config = FAMILIES[tiny.model_type].read_config(AutoConfig.for_model(tiny.model_type, **tiny.changes), dtype)
    return replace(config, attention=replace(config.attention, head_width=64))


def program(name: str, dtype: Precision, *, slots: int) -> jax.stages.Traced:
    """The traced program that reads eight rows on a mesh."""
    config = config_of(name, dtype)
    graph, params = build(config)
    row = jax.ShapeDtypeStruct((8, slots), jnp.int32)

    def read(params: Params, batch: Batch) -> dict[str, jax.Array]:
        return forward(graph, params, batch, reads={"residual": (config.layers,)}, mesh=data_mesh())

    batch = Batch(row, row, row)  # pyright: ignore[reportArgumentType] - shapes in the place of arrays
    return jax.jit(read).trace(params, batch)
