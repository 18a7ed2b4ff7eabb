"""Keeps compiled programs between runs of the command, in the user's cache folder."""

import os
from pathlib import Path


def keep_compiled_programs() -> None:
    """Sets JAX's persistent compilation cache, so that a second run of the same shapes compiles nothing.

    A folder that the environment variable `JAX_COMPILATION_CACHE_DIR` names stays in use.
    """
    if os.environ.get("JAX_COMPILATION_CACHE_DIR"):
        return
    from lca_jax.machine.devices import use_compilation_cache

    use_compilation_cache(Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "lca_jax" / "compiled")
