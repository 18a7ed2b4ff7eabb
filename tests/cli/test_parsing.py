"""Options by hand and from a file, and usage errors of one line."""

from pathlib import Path
from typing import get_args, get_type_hints

import pytest

from lca_jax.cli.main import COMMANDS, main
from lca_jax.cli.parsing import WITH_A_VALUE, read_arguments
from lca_jax.cli.run import run_experiment
from lca_jax.cli.steps import extract, probe
from lca_jax.cli.study import run_study
from lca_jax.errors import SettingsError
from lca_jax.experiment.config import Experiment, Study

FILES = ["--model", "m", "--train", "a", "--test", "b", "--out", "c"]


def experiment_of(options: list[str]) -> Experiment:
    call = read_arguments(run_experiment, "run", options)
    return call.args[0] if call.args else call.keywords["experiment"]  # pyright: ignore[reportFunctionMemberAccess]


def test_options_make_the_experiment_and_call_nothing() -> None:
    experiment = experiment_of([*FILES, "--task", "ner", "--task", "pos", "--where", "1=tr", "--annotate", "x=/a+/"])
    assert experiment.dev is None
    assert (experiment.train, experiment.tasks) == (Path("a"), ("ner", "pos"))
    assert (experiment.texts.where, experiment.annotate) == (("1=tr",), ("x=/a+/",))


def test_a_file_says_everything_that_options_say_and_options_count_before_it(tmp_path: Path) -> None:
    file = tmp_path / "run.toml"
    file.write_text(
        'model = "m"\ntrain = "a"\ntest = "b"\nout = "c"\ntasks = ["ner", "pos"]\nmax_train_words = 9\n'
        'labelled_only = true\nfractions = [0.1, 0.2]\nencoding = "latin-1"\nwhere = ["1=tr"]\n'
        "[probe]\nl1 = [1e-3, 1e-2]\nmax_iterations = 7\n"
    )
    experiment = experiment_of(["--config", str(file), "--max-train-words", "5", "--out", "d"])
    assert (experiment.out, experiment.max_train_words, experiment.tasks) == (Path("d"), 5, ("ner", "pos"))
    assert (experiment.probe.l1, experiment.probe.max_iterations) == ((1e-3, 1e-2), 7)
    assert (experiment.texts.encoding, experiment.texts.where) == ("latin-1", ("1=tr",))
    assert experiment.labelled_only
    assert experiment.fractions == (0.1, 0.2)
    assert experiment_of(["--config", str(file), "--task", "x"]).tasks == ("x",)
    (tmp_path / "number.toml").write_text("tasks = 3\n")
    assert experiment_of([*FILES, "--config", str(tmp_path / "number.toml")]).tasks == ("3",)
    joined = experiment_of([f"--config={file}", "--task=x", "--out=d", "--probe.l1=1e-4", "--max_train_words=5"])
    assert (joined.out, joined.max_train_words, joined.tasks) == (Path("d"), 5, ("x",))
    assert (joined.probe.l1, joined.probe.max_iterations) == ((1e-4,), 7)
    with pytest.raises(SettingsError, match="`--config` is given twice"):
        experiment_of([f"--config={file}", "--config", str(file)])
    with pytest.raises(SettingsError, match="`--config` is given twice"):
        experiment_of(["--config", str(file), "--config", str(file)])


def test_an_option_that_is_not_there_is_told_with_the_file_that_has_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "run.toml").write_text("nonsense = 3\n")
    for by_hand, place in (([], ", which the file of `--config` says"), (["--nonsense", "4"], "")):
        with pytest.raises(SystemExit, match="2"):
            read_arguments(run_experiment, "run", [*FILES, "--config", str(tmp_path / "run.toml"), *by_hand])
        assert f"there is no option --nonsense{place}. " in capsys.readouterr().err


def test_what_is_true_false_or_not_said_can_be_said_in_a_file(tmp_path: Path) -> None:
    unsaid = {name for record in (Experiment, Study) for name, hint in get_type_hints(record).items()
              if {bool, type(None)} == set(get_args(hint))}  # fmt: skip
    assert unsaid == WITH_A_VALUE
    (tmp_path / "study.toml").write_text("stream = true\nby_layer = true\n")
    call = read_arguments(run_study, "study", [*FILES[:4], "--out", "c", f"--config={tmp_path / 'study.toml'}"])
    study = call.keywords["settings"]  # pyright: ignore[reportFunctionMemberAccess]
    assert (study.stream, study.by_layer) == (True, True)


def test_a_value_may_begin_with_a_minus(tmp_path: Path) -> None:
    file = tmp_path / "run.toml"
    file.write_text('unlabelled = "--"\nwhere = ["--=-"]\n')
    assert experiment_of([*FILES, "--unlabelled=--x=y"]).texts.unlabelled == "--x=y"
    texts = experiment_of([*FILES, f"--config={file}"]).texts
    assert (texts.unlabelled, texts.where) == ("--", ("--=-",))
    assert experiment_of([*FILES, f"--config={file}", "--unlabelled=-"]).texts.unlabelled == "-"


@pytest.mark.parametrize(
    ("function", "options", "said"),
    [
        (run_experiment, ["--model", "m"], "--train, --test, --out must be given"),
        (run_experiment, FILES[:4], "--test, --out must be given"),
        (run_experiment, [*FILES, "--nonsense"], "there is no option --nonsense"),
        (run_experiment, [*FILES, "--draws", "x"], "--draws: invalid literal"),
        (run_experiment, [*FILES, "--layers", "x"], "--layers takes {None}|{[INT [INT ...]]}, got 'x'. `--help`"),
        (run_experiment, [*FILES, "--until", "z"], "invalid choice 'z' for argument '--until'"),
        (run_study, ["--models", "3"], "there is no option --models"),
        (run_experiment, [*FILES, "--overwrite", "yes"], "there is no option yes, and none that would take it"),
        (run_experiment, [*FILES, "-x"], "there is no option -x, and none that would take it"),
        (probe, [], "RUN must be given"),
    ],
)
def test_a_usage_error_is_one_line(function, options: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        read_arguments(function, "command", options)
    printed = capsys.readouterr().err
    assert printed.startswith("lca command: ")
    assert said in printed
    assert printed.count("\n") == 1


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ([*FILES, "--probe.l1", "-1"], "`l1` must be one or more finite numbers"),
        ([*FILES, "--draws", "1"], "`draws` must be 2 or more"),
        ([*FILES, "--config"], "`--config` needs a file"),
        ([*FILES, "--config="], "`--config` needs a file"),
        ([*FILES, "--config=no/such.toml"], "no/such.toml cannot be read as TOML"),
        ([*FILES, "--config", "no/such.toml"], "no/such.toml cannot be read as TOML"),
        ([*FILES, "--annotate", "t=/a/", "--annotate", "t=/b/"], "The task `t` is named twice"),
        ([*FILES, "--annotate", "position=/a/", "--task", "position"], "The task `position` is named twice"),
        ([*FILES, "--annotate", "=/a/"], "`annotate` must be NAME=FILE or NAME=/PATTERN/"),
    ],
)
def test_a_setting_out_of_its_range_is_the_error_of_the_setting(options: list[str], said: str) -> None:
    with pytest.raises(SettingsError, match=said) as caught:
        read_arguments(run_experiment, "run", options)
    assert "tyro" not in str(caught.value)


def test_extract_takes_a_run_or_a_text() -> None:
    with pytest.raises(SettingsError, match=r"Give a run folder, or a text with .*; missing: --text, --out\."):
        read_arguments(extract, "extract", ["--model", "m"])()
    with pytest.raises(SettingsError, match="--model, --out: the run folder r says this itself"):
        read_arguments(extract, "extract", ["r", "--model", "m", "--out", "o"])()


GO_ON = "Start the same command again: it goes on where it stopped."


def raising(error: BaseException):
    def command(path: str = "x", *, debug: bool = False) -> None:
        del path, debug
        raise error

    return command


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (KeyboardInterrupt(), 130, f"lca: interrupted. {GO_ON}\n"),
        (SettingsError("no"), 1, "lca: no\n"),
        (
            NotADirectoryError(20, "Not a directory", "a/b"),
            1,
            "lca: a/b: Not a directory. A part of the path is a file",
        ),
    ],
)
def test_an_error_is_one_line_and_an_interruption_says_how_to_go_on(
    error: BaseException, code: int, said: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("lca_jax.cli.show.show", raising(error))
    with pytest.raises(SystemExit) as caught:
        main(["show"])
    assert caught.value.code == code
    printed = capsys.readouterr().err
    assert printed.startswith(said)
    assert printed.count("\n") == 1
    with pytest.raises(type(error)):
        main(["show", "--debug"])


def test_the_version_is_told_by_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="0"):
        main(["run", "--version"])
    assert capsys.readouterr().out.startswith("lca_jax ")


@pytest.mark.parametrize("name", COMMANDS)
@pytest.mark.parametrize("width", [80, 120])
def test_no_line_of_a_help_text_is_wider_than_the_terminal(
    name: str, width: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    with pytest.raises(SystemExit, match="0"):
        main([name, "--help"])
    printed = capsys.readouterr().out
    assert COMMANDS[name].summary in " ".join(printed.split())
    assert [line for line in printed.splitlines() if len(line) > width] == []


@pytest.mark.parametrize("regression", [["--regression", "score"], ["--regression=score"]])
def test_an_option_of_another_command_is_told_with_its_command(
    regression: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(["run", *FILES, *regression])
    printed = capsys.readouterr().err
    assert printed.count("\n") == 1
    assert "`lca study --regression TASK`" in printed
    assert "fit_probes(store, tasks=[TASK], regression=[TASK])" in printed
