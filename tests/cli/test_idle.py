"""Options that have no effect in what is asked for are refused by name, in every mode of every command."""

import inspect
import re
from dataclasses import fields
from pathlib import Path
from typing import get_args

import pytest

from lca_jax import ElasticNet
from lca_jax.cli.idle import OF_SOLVER
from lca_jax.cli.main import COMMANDS, main
from lca_jax.cli.steps import extract
from lca_jax.probing.choices import solver_of
from lca_jax.probing.objective import SolverName

ONE_MODE = {"demo", "probe", "rank", "ablate", "report", "control"}
"""Commands all of whose options have an effect in whatever they do."""
RUN = ["run", "--model", "m", "--train", "a", "--test", "b", "--out", "c"]
STUDY = ["study", "--model", "m", "--train", "a", "--out", "c"]
ABLATE = ["ablate-model", "--run", "r", "--task", "upos"]
TUNE = ["tune", "--model", "m", "--train", "a", "--out", "c", "--task", "t"]
OF_A_TEXT = {
    "model": "m", "text": "t", "out": "o", "sites": "mlp", "layers": "3", "pool": "mean", "dtype": "bfloat16",
    "model_dtype": "bfloat16", "revision": "r", "split_model": "2", "shard_words": "256", "longest_window": "64",
    "texts": None,
}  # fmt: skip
OF_TEXTS = ["--word-column", "2", "--encoding", "latin-1", "--where", "1=tr", "--skip-ragged"]


def refused(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    with pytest.raises(SystemExit, match="1"):
        main(arguments)
    return capsys.readouterr().err


IDLE = [
    (
        ["extract", "RUN", "--layers", "3", "--pool", "mean"],
        "--layers, --pool: the run folder RUN says",
    ),
    (
        [*RUN, "--probe.epochs", "3", "--probe.no-proximal-step"],
        "--probe.epochs, --probe.proximal-step: the solver",
    ),
    ([*RUN, "--probe.solver", "adam", "--probe.max-iterations", "3"], "--probe.max-iterations: the solver `adam`"),
    ([*RUN, "--unlabelled-as", "none"], "--unlabelled-as: only words of a task `feats:KEY` can lack a feature"),
    ([*RUN, "--ranking", "mass", "--ranking-l2", "2"], "--ranking-l2: only the ranking `bagged` has it"),
    ([*STUDY, "--probe.batch-size", "64"], "--probe.batch-size: the solver `proximal` has no such settings"),
    ([*STUDY, "--processes", "2", "--process", "1"], "--processes, --process: only in a job, with `--join`"),
    ([*STUDY, "--join-timeout", "9"], "--join-timeout: only in a job, with `--join`. Leave it out."),
    (["study", "s.toml", "--plan", "--overwrite", "--join"], "--overwrite, --join: `--plan` makes nothing"),
    ([*ABLATE, "--pairs", "p", "--metric", "chrf"], "--metric: only with `--translations`"),
    ([*ABLATE, "--text", "p", "--label-column", "2"], "--label-column: only with `--classified`"),
    ([*ABLATE, "--pairs", "p", "--texts.encoding", "latin-1"], "--texts.encoding: only with `--text` or"),
    ([*ABLATE, "--text", "p", "--sets", "top", "--random", "9"], "--random: only where `--sets` has `random`"),
    (["compare-models", "a", "b", "--out", "o", "--part", "dev"], "--part: only a run folder has parts"),
    (
        ["compare-models", "a", "--out", "o", "--drawn", "9"],
        "--drawn: only where neurons of two models are compared",
    ),
    (
        ["describe", "s", "--generator", "g", "--out", "o", "--embedding-prefix", "query: "],
        "--embedding-prefix: only with `--embedder`",
    ),
    ([*TUNE, "--tuning.patience", "1"], "--tuning.patience: only with `--dev`"),
    (["convert", "a.hdf5", "store", "--unlabelled", "_"], "--unlabelled: only with `--labels`"),
    (["convert", "store", "a.arrow", "--layers", "0"], "--layers: only where `lca convert` reads files of NeuroX"),
    (["show", "SURVEY", "--verify"], "--verify: SURVEY has no whole store of its own"),
]


@pytest.mark.parametrize(("arguments", "message"), IDLE)
def test_an_option_without_effect_is_refused_by_name(
    arguments: list[str],
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "SURVEY").mkdir()
    (tmp_path / "SURVEY" / "survey.json").write_text("{}")
    said = refused(arguments, capsys)
    assert said.startswith("lca: ")
    assert message in said
    assert said.count("\n") == 1


def test_every_command_with_modes_is_tried() -> None:
    assert {arguments[0] for arguments, _ in IDLE} | ONE_MODE == set(COMMANDS)


def test_a_run_folder_says_itself_all_that_is_said_of_a_text(capsys: pytest.CaptureFixture[str]) -> None:
    documented = re.findall(r"(?m)^ +(\w+): For a text: ", inspect.getdoc(extract) or "")
    assert set(documented) == set(OF_A_TEXT)
    options = [word for name, value in OF_A_TEXT.items() if value for word in (f"--{name.replace('_', '-')}", value)]
    said = refused(["extract", "RUN", *options, *OF_TEXTS], capsys)
    named = said.partition(": the run folder RUN")[0].removeprefix("lca: ").split(", ")
    given = [word for word in [*options, *OF_TEXTS] if word.startswith("--")]
    assert sorted(named) == sorted(given)


def test_the_settings_of_one_solver_alone_are_known() -> None:
    names = {
        solver: {field.name for field in fields(solver_of(ElasticNet(solver=solver)))}  # pyright: ignore[reportArgumentType]
        for solver in get_args(SolverName)
    }
    for solver, own in names.items():
        others = set().union(*(of_other for other, of_other in names.items() if other != solver))
        assert set(OF_SOLVER[solver]) == own - others - {"seed"}
