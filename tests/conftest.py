"""Switches for every test: eight virtual devices, no silent promotion, warnings are errors (see pyproject).

Compiling takes most of the suite's time, so it is made cheap here, through the environment and so for child processes
too: programs are compiled fast and not to run fast, and what is compiled is kept for the other worker, the children and
the next run. `JAX_DISABLE_MOST_OPTIMIZATIONS=0 XLA_FLAGS=… pytest` tests the programs that users run.
"""

import gc
import os
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from importlib.metadata import version
from pathlib import Path

# Eight devices share two cores with whatever else runs: they may wait long for each other before that is an error.
# XLA ends a process that has a flag it does not know, as versions after 0.10 do not know the last one.
os.environ.setdefault(
    "XLA_FLAGS",
    "--xla_force_host_platform_device_count=8 --xla_cpu_collective_call_terminate_timeout_seconds=600"
    + (" --xla_cpu_use_fusion_emitters=false" if version("jax").startswith("0.10.") else ""),
)
os.environ.setdefault("JAX_DISABLE_MOST_OPTIMIZATIONS", "1")
os.environ.setdefault(
    "JAX_COMPILATION_CACHE_DIR",
    f"{os.environ.get('XDG_CACHE_HOME') or Path.home() / '.cache'}/lca_jax/tests-jax-{version('jax')}",
)
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0")
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES", "-1")
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

import hypothesis
import jax
import jaxtyping
import pytest

jax.config.update("jax_platforms", "cpu")
jax.config.update("jax_numpy_dtype_promotion", "strict")
jax.config.update("jax_numpy_rank_promotion", "raise")

# A deadline measures how loaded the machine is, not the code.
hypothesis.settings.register_profile("suite", deadline=None)
hypothesis.settings.load_profile("suite")

CACHE_DAYS = 14
"""Compiled programs are kept this long."""


def pytest_collection_finish() -> None:
    """Keeps the million objects of the imports out of later collections of garbage, which take a second with them."""
    gc.collect()
    gc.freeze()


def pytest_unconfigure(config: pytest.Config) -> None:
    """Removes compiled programs that are old, so that the folder does not grow for ever; the workers leave that."""
    if hasattr(config, "workerinput"):
        return
    folder, oldest = Path(os.environ["JAX_COMPILATION_CACHE_DIR"]), time.time() - CACHE_DAYS * 86_400
    if folder.name != f"tests-jax-{version('jax')}":
        return  # somebody else's
    for file in folder.glob("*-cache"):
        with suppress(FileNotFoundError):  # another run removed it
            if file.stat().st_mtime < oldest:
                file.unlink()


@pytest.fixture(autouse=True, scope="module")
def room_for_programs() -> Iterator[None]:
    """A worker that runs half of this suite compiles more than it has memory mappings for."""
    from lca_jax.machine.programs import let_go_of_programs  # after jaxtyping's import hook

    yield
    let_go_of_programs(above=30_000)


SHARED = Path(__file__).resolve().parents[2] / "shared"


@pytest.fixture
def as_users_run_it() -> Iterator[None]:
    """Without the checks of annotations at run time, which would refuse a wrong type before the package does."""
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The real corpora, where this checkout has them beside it; the tests that need them say so when they skip."""
    folder = SHARED / "data"
    if not folder.is_dir():
        pytest.skip("needs the annotated corpora in ../shared/data, which are not part of the project")
    return folder


@pytest.fixture(scope="session")
def minilm_folder() -> Path:
    """Trained weights: all-MiniLM-L6-v2 out of the extra `demo`, which the extra `test` includes."""
    from lca_jax.demo import demo_model_folder
    from lca_jax.errors import MissingExtraError

    try:
        return demo_model_folder()
    except MissingExtraError as error:
        pytest.skip(str(error))


@pytest.fixture(scope="session")
def trained_folder(request: pytest.FixtureRequest) -> Callable[[str], Path]:
    """Trained weights by name: `minilm` of the extra, others in ../shared/models or the folder in LCA_JAX_MODELS."""

    def find(name: str) -> Path:
        if name == "minilm":
            return request.getfixturevalue("minilm_folder")
        prepared = os.environ.get("LCA_JAX_MODELS")
        for parent in (SHARED / "models", *([Path(prepared)] if prepared else [])):
            if (parent / name / "config.json").is_file():
                return parent / name
        pytest.skip(
            f"needs the checkpoint {name}, which is not part of the project, in ../shared/models or in the folder that "
            f"the environment variable LCA_JAX_MODELS names ({prepared or 'not set'})"
        )

    return find
