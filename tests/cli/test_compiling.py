"""The folder of compiled programs that the command uses: the user's cache folder, or the one the environment names."""

import os
import subprocess
import sys
from pathlib import Path

SCRIPT = """
import os
import jax
from lca_jax.cli.compiling import keep_compiled_programs
keep_compiled_programs()
print(jax.config.jax_compilation_cache_dir)
del os.environ["JAX_COMPILATION_CACHE_DIR"]
keep_compiled_programs()
print(jax.config.jax_compilation_cache_dir)
"""


def test_compiled_programs_are_kept_where_the_environment_says_or_in_the_cache_folder(tmp_path: Path) -> None:
    folders = {"JAX_COMPILATION_CACHE_DIR": str(tmp_path / "own"), "XDG_CACHE_HOME": str(tmp_path / "cache")}
    command = [sys.executable, "-c", SCRIPT]
    done = subprocess.run(command, env=os.environ | folders, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == [str(tmp_path / "own"), str(tmp_path / "cache/lca_jax/compiled")]
