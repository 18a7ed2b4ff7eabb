"""The `lca` command. Results go to stdout, progress and the log to stderr; exit 0 done, 1 an error to mend, 2 usage.

A command's module is imported when the command is named, and the rooms that compute when it runs: help, usage errors
and `lca show` never wait for JAX.
"""

import sys
from collections.abc import Callable, Sequence
from importlib import import_module, metadata

import tyro

from lca_jax.cli.output import log_to_stderr, say
from lca_jax.errors import LcaError

COMMANDS = {
    "demo": ("lca_jax.cli.demo", "demo"),
    "run": ("lca_jax.cli.run", "run_experiment"),
    "extract": ("lca_jax.cli.steps", "extract"),
    "probe": ("lca_jax.cli.steps", "probe"),
    "rank": ("lca_jax.cli.steps", "rank"),
    "ablate": ("lca_jax.cli.steps", "ablate"),
    "report": ("lca_jax.cli.steps", "report"),
    "study": ("lca_jax.cli.study", "run_study"),
    "show": ("lca_jax.cli.show", "show"),
    "convert": ("lca_jax.cli.convert", "convert"),
}
"""The function of each command: its module and its name there. Its arguments are the options of the command."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs the command line.

    Args:
        arguments: What follows `lca`; by default that of this process.
    """
    arguments = sys.argv[1:] if arguments is None else list(arguments)
    if arguments == ["--version"]:
        say(f"lca_jax {metadata.version('lca-jax')}")
        return
    name = arguments[0] if arguments else ""
    try:
        with log_to_stderr(quiet="--quiet" in arguments):
            if name in COMMANDS:
                tyro.cli(_command(name), prog=f"lca {name}", args=arguments[1:])
            else:
                _explain(arguments)
    except LcaError as error:
        if "--debug" in arguments:
            raise
        sys.stderr.write(f"lca: {error}\n")
        sys.exit(1)


def _command(name: str) -> Callable[..., None]:
    module, function = COMMANDS[name]
    return getattr(import_module(module), function)


def _explain(arguments: Sequence[str]) -> None:
    """Lists the commands, for `--help` or after a usage error."""
    tyro.extras.subcommand_cli_from_dict(
        {name: _command(name) for name in COMMANDS},
        prog="lca",
        description="Finds the neurons of a transformer that carry a linguistic property.",
        args=arguments,
    )
