"""The versions of installed packages that numbers may depend on: the one list of them."""

from collections.abc import Sequence
from importlib import metadata

STORE_PACKAGES = ("lca-jax", "jax", "flax", "numpy", "pyarrow", "tensorstore", "tokenizers", "transformers")
"""Packages that a stored activation may depend on."""
RESULT_PACKAGES = (
    "lca-jax", "jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "tensorstore", "transformers", "numpy",
)  # fmt: skip
"""Packages that the results of a run may depend on."""


def package_versions(packages: Sequence[str]) -> dict[str, str]:
    """Returns the installed version of each package, or `not installed`."""
    return {package: _version(package) for package in packages}


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "not installed"
