"""The `lca` command. Results go to stdout, progress and the log to stderr; `failing` says how it ends otherwise.

A command's module is imported when the command is named, and the rooms that compute when it runs: help, usage errors
and `lca show` never wait for JAX.
"""

import sys
from argparse import ArgumentParser
from collections.abc import Sequence
from importlib import import_module
from itertools import pairwise
from typing import NamedTuple, NoReturn

from lca_jax.cli.failing import ending_well
from lca_jax.cli.output import log_to_stderr
from lca_jax.machine.versions import package_versions


class Command(NamedTuple):
    """Where the function of a command is, and what the list of commands says of it."""

    module: str
    """The function's module below `lca_jax.cli`."""
    function: str
    """Its name there. Its arguments are the options of the command."""
    summary: str
    """The first line of its docstring, which a test compares, so that the list imports no command."""


COMMANDS = {
    "demo": Command("demo", "demo", "Does a whole run on the embedded corpus and a small trained model."),
    "run": Command("run", "run_experiment", "Does everything: activations, probes, rankings, curves, page."),
    "extract": Command(
        "steps", "extract", "Computes activations: of plain text, or of a run folder made by `lca run`."
    ),
    "probe": Command("steps", "probe", "Fits the probes and chooses their penalties."),
    "rank": Command("steps", "rank", "Writes the rankings."),
    "ablate": Command("steps", "ablate", "Measures keep curves and minimal sets."),
    "ablate-model": Command(
        "model_ablation", "ablate_model", "Removes the neurons of a ranking from the running model."
    ),
    "control": Command("property_control", "control", "Shifts neurons of a ranking, so that a property changes."),
    "report": Command("steps", "report", "Writes results.json and the page."),
    "study": Command("study", "run_study", "Does the probes and rankings of many tasks, in many processes."),
    "compare-models": Command(
        "compare_models",
        "compare_models",
        "Finds the neurons that several models learn, and how alike their layers are.",
    ),
    "describe": Command("describe", "describe", "Describes neurons by short phrases that a model writes."),
    "tune": Command("tune", "tune_model", "Fine-tunes a model on labels of sentences, pairs or words."),
    "show": Command("show", "show", "Says in a few lines what a run folder, a survey or a store holds."),
    "convert": Command("convert", "convert", "Converts files of NeuroX to a store, or a store to other files."),
}


_SURVEY = Command("survey", "run_survey", "")
"""What `lca study` does with a file of questions; without one it is a study of one model and corpus."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs the command line.

    Args:
        arguments: What follows `lca`; by default that of this process.
    """
    arguments = sys.argv[1:] if arguments is None else list(arguments)
    with ending_well(debug="--debug" in arguments):
        if not arguments or arguments[0] not in COMMANDS or "--version" in arguments:
            _explain(["--version"] if "--version" in arguments else arguments)
        with log_to_stderr(quiet="--quiet" in arguments):
            _run(arguments[0], arguments[1:])


def _run(name: str, options: Sequence[str]) -> None:
    """Imports a command and calls it with its options; exits with 2 if they are not its options."""
    from lca_jax.cli.parsing import read_arguments

    command = COMMANDS[name]
    if name == "study" and ("--plan" in options or _names_a_survey(options)):
        command = _SURVEY
    module = import_module(f"lca_jax.cli.{command.module}")
    if command.module == "steps":
        # The run folder stands without the name of an option; the older form keeps working.
        options = [option.removeprefix("--run=") for option in options if option != "--run"]
    read_arguments(getattr(module, command.function), name, options)()


def _names_a_survey(options: Sequence[str]) -> bool:
    """Returns whether a file of questions stands among the options of `lca study`, by itself."""
    stands_first = bool(options) and not options[0].startswith("-")
    return stands_first or any(
        option.endswith(".toml") and not option.startswith("-") and before != "--config"
        for before, option in pairwise(options)
    )


def _explain(arguments: Sequence[str]) -> NoReturn:
    """Lists the commands or the version if asked to; otherwise says that no command is named, and exits with 2."""
    parser = ArgumentParser(
        prog="lca",
        description="Finds the neurons of a transformer from which a linguistic property can be read.",
        epilog="`lca COMMAND --help` lists the options of a command.",
    )
    version = package_versions(["lca-jax"])["lca-jax"]
    parser.add_argument("--version", action="version", version=f"lca_jax {version}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for name, command in COMMANDS.items():
        commands.add_parser(name, help=command.summary, add_help=False)
    if not arguments:
        parser.error("the name of a command must be given: `lca --help` lists them")
    parser.parse_args(arguments)
    parser.error("the name of a command must come first")
