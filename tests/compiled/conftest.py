"""Programs for devices that are not here are compiled as users compile them."""

import os
from collections.abc import Iterator

import jax
import pytest


@pytest.fixture(autouse=True)
def as_for_users() -> Iterator[None]:
    """The suite compiles without most optimisations, and keeps what it has compiled: neither is wanted here."""
    jax.config.update("jax_disable_most_optimizations", False)
    jax.config.update("jax_enable_compilation_cache", False)
    yield
    jax.config.update("jax_enable_compilation_cache", True)
    jax.config.update("jax_disable_most_optimizations", os.environ["JAX_DISABLE_MOST_OPTIMIZATIONS"] == "1")
