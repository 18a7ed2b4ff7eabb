"""Reads the options of a command, by hand and from a file of settings, and says in one line what is wrong.

The package `tyro` makes the options out of a function's arguments and calls it. Here it only collects the arguments,
so that an error of the command itself is never taken for one of its options, and the frame that it draws around a usage
error becomes one line.
"""

import functools
import inspect
import io
import re
import sys
import textwrap
import tomllib
from collections.abc import Callable, Iterator, Mapping, Sequence, Set
from contextlib import redirect_stderr
from shutil import get_terminal_size
from typing import Any

from lca_jax.errors import LcaError, SettingsError, StoreError
from lca_jax.machine.urls import read_content

_REPEATED = {"tasks": "task", "where": "where", "annotate": "annotate", "regression": "regression"}
"""Settings that are given once for each value, and the names of their options."""
WITH_A_VALUE = {"stream"}
"""Settings that are true, false or not said, whose options take one of the words True and False."""
_ELSEWHERE = {
    "run": {
        "--regression": "a run measures accuracies, so it takes classes only. `lca study --regression TASK` fits "
        "and ranks numeric labels; in Python fit_probes(store, tasks=[TASK], regression=[TASK])."
    }
}
"""Options of other commands that people look for, by the command where they look."""
_OPTION = re.compile(r"(--[a-z][\w.-]*|[A-Z]+)( [A-Z{].*)?$")
"""A line of a list of options that are missing."""
_UNFIT = re.compile(r"Error parsing (--\S+): no type matching (.+?) could be instantiated from \[(.*?)\]\.")
"""What is said of a value that fits none of several types, before what each of them says."""
_NAME = re.compile(r"(?<!\S)--[\w.-]*\w")
_FRAME = re.compile(r"[│╭╮╰╯─├┤]+|^\+|-{3,}|^\||\|$|\+$")


def read_arguments(function: Callable[..., None], name: str, options: Sequence[str]) -> Callable[[], None]:
    """Returns the call of a command with its options.

    Args:
        function: The command.
        name: Its name.
        options: What follows the name.

    Raises:
        SystemExit: Help was asked for, or the options are not those of the command (2, after one line on stderr).
        LcaError: A setting is out of its range.
    """
    import tyro

    @functools.wraps(function)
    def collect(*arguments: Any, **named: Any) -> Callable[[], None]:
        return functools.partial(function, *arguments, **named)

    said = io.StringIO()
    try:
        with redirect_stderr(said):
            told = _description(function, get_terminal_size().columns)
            return tyro.cli(collect, prog=f"lca {name}", description=told, args=_with_settings(options))
    except SystemExit as end:
        if (error := _cause(end)) is not None:
            raise error from None
        if end.code == 2:
            given = names_of(options)
            elsewhere = next((told for option, told in _ELSEWHERE.get(name, {}).items() if option in given), None)
            sys.stderr.write(f"lca {name}: {elsewhere or _one_line(said.getvalue(), options)}\n")
        raise


def names_of(options: Sequence[str]) -> frozenset[str]:
    """Returns the names of the options that are given, also where a value is joined to one: `--task=upos`."""
    return frozenset(map(name_of, options)) - {""}


def name_of(option: str) -> str:
    """Returns the name of an option as lists of options have it; an empty text for what is no option."""
    return option.partition("=")[0].replace("_", "-") if option.startswith("--") else ""


def _description(function: Callable[..., None], width: int) -> str:
    """Returns a command's docstring up to its arguments, wrapped: tyro wraps the options alone.

    It joins lines again unless they begin with a space, so lines of a paragraph after its first are indented.
    """
    paragraphs = (inspect.getdoc(function) or "").partition("\nArgs:\n")[0].split("\n\n")
    return "\n\n".join(
        textwrap.fill(" ".join(each.split()), width, subsequent_indent="  ") for each in paragraphs if each.strip()
    )


def _with_settings(options: Sequence[str]) -> list[str]:
    """Returns the options with those of `--config FILE` before them, so that what is given by hand counts."""
    options = list(options)
    place = next((place for place, option in enumerate(options) if name_of(option) == "--config"), None)
    if place is None:
        return options
    _, joined, file = options[place].partition("=")
    end = place + 1 if joined else place + 2
    file = file if joined else next(iter(options[place + 1 : end]), "")
    if not file:
        raise SettingsError("`--config` needs a file, e.g. `--config run.toml`.")
    try:
        settings = tomllib.loads(read_content(file).decode("utf-8"))
    except (OSError, ValueError, StoreError) as error:
        raise SettingsError(
            f"{file} cannot be read as TOML: {error}. Give a file of settings by their names, e.g. `layers = [3, 4]`."
        ) from None
    by_hand = options[:place] + options[end:]
    if "--config" in (given := names_of(by_hand)):
        raise SettingsError("`--config` is given twice. Put all settings into one file.")
    return [*_options_of(settings, given), *by_hand]


def _options_of(settings: Mapping[str, Any], by_hand: Set[str], prefix: str = "") -> Iterator[str]:
    for key, value in settings.items():
        name = f"{prefix}{_REPEATED.get(key, key)}".replace("_", "-")
        if isinstance(value, Mapping):
            yield from _options_of(value, by_hand, prefix=f"{name}.")
        elif f"--{name}" in by_hand:
            continue
        elif isinstance(value, bool) and key not in WITH_A_VALUE:
            yield f"--{name}" if value else f"--no-{name}"
        elif key in _REPEATED:
            for each in value if isinstance(value, list) else [value]:
                yield from _given(name, each)
        elif isinstance(value, list):
            yield from (f"--{name}", *map(str, value))
        else:
            yield from _given(name, value)


def _given(name: str, value: object) -> Sequence[str]:
    """Returns an option and its value, joined where the value would be taken for an option by itself."""
    return [f"--{name}={value}"] if str(value).startswith("-") else [f"--{name}", str(value)]


def _cause(error: BaseException | None) -> LcaError | None:
    """Returns the error of a setting that tyro met, and told as if it were one of the options."""
    while error is not None:
        if isinstance(error, LcaError):
            return error
        error = error.__context__
    return None


def _one_line(text: str, by_hand: Sequence[str]) -> str:
    """Returns in a sentence what stands in a frame of several lines; an option not given by hand is of the file."""
    lines = [" ".join(_FRAME.sub(" ", line).split()) for line in text.splitlines()]
    lines = [line for line in lines if line and not line.startswith("For full helptext")]
    start = next((place for place, line in enumerate(lines) if line.startswith("Unrecognized options")), len(lines))
    required = lines[:start]
    rest, _, similar = re.sub(r"For full helptext.*", "", " ".join(lines[start:])).partition("Perhaps you meant")
    unknown, meant = (
        [name for name in dict.fromkeys(_NAME.findall(part)) if name != "--help"] for part in (rest, similar)
    )
    said = [f"there is no option {', '.join(unknown)}" + (f" (perhaps {meant[0]})" if meant else "")] if unknown else []
    if unknown and not names_of(unknown) & (given := names_of(by_hand)) and "--config" in given:
        said = [f"{said[0]}, which the file of `--config` says"]
    if not unknown and (words := re.search(r"Unrecognized options: (.+)", rest)):
        said = [f"there is no option {words[1].strip()}, and none that would take it"]
    missing = [found[1] for line in required if (found := _OPTION.match(line))]
    if unfit := _UNFIT.search(" ".join(required)):
        said.append(f"{unfit[1]} takes {unfit[2]}, got {unfit[3]}")
    elif required and not required[0].startswith("Required options"):
        said.append(" ".join(required[1:]).partition(" Argument helptext:")[0].rstrip("."))
    elif missing and not unknown:
        said.append(f"{', '.join(missing)} must be given")
    return f"{'; '.join(said)}. `--help` lists the options."
