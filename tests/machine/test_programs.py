"""Compiled programs are let go of before they take all mappings of memory that a process may have."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lca_jax import fit_elastic_net
from lca_jax.machine import programs
from lca_jax.machine.programs import count_mappings, let_go_of_programs
from tests.compilations import count_programs


def test_programs_do_not_fill_the_memory_map() -> None:
    """Linux ends a process with 65,530 mappings, and a worker of this suite makes more if it keeps its programs."""
    if not count_mappings():
        pytest.skip("this system does not tell the mappings of a process")
    let_go_of_programs(above=0)
    before = count_mappings()
    for size in range(1, 81):
        jax.jit(lambda x: jnp.sin(x).sum())(jnp.ones((size, 2)))
    full = count_mappings()
    assert full >= before + 80
    let_go_of_programs(above=10 * full)
    assert count_mappings() >= before + 80  # there is room yet
    let_go_of_programs(above=before)  # other threads may have changed the number by a few since
    assert count_mappings() <= (before + full) / 2  # the rest is memory that Python keeps


def test_a_fit_makes_room_for_its_programs(monkeypatch: pytest.MonkeyPatch) -> None:
    """A survey of a dozen languages, or a notebook that fits in a loop, compiles for ever new shapes."""
    if not count_mappings():
        pytest.skip("this system does not tell the mappings of a process")
    double = jax.jit(lambda x: 2 * x)
    X, y = np.random.default_rng(0).normal(size=(60, 5)).astype(np.float32), ["a", "b", "c"] * 20
    double(jnp.ones(3))
    before = fit_elastic_net(X, y)
    with count_programs() as compiled:
        double(jnp.ones(3))
    assert not compiled  # the usual limit is far away
    monkeypatch.setattr(programs, "_usual", lambda: 1)
    after = fit_elastic_net(X, y)
    with count_programs() as compiled:
        double(jnp.ones(3))
    assert compiled
    np.testing.assert_array_equal(before.weights, after.weights)
