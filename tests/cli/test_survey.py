"""`lca study FILE.toml`: a survey is told from a study, its plan makes nothing, and its file is read whole."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from lca_jax.cli.main import main
from lca_jax.errors import SettingsError
from lca_jax.experiment.survey_settings import read_survey

ROW = "# sent_id = {0}\n1\tw{0}\t_\tX\t_\t_\t_\t_\t_\t_\n\n"


def write_survey(folder: Path, more: str = "") -> Path:
    for name in ("en", "de"):
        (folder / f"{name}.conllu").write_text("".join(ROW.format(number) for number in range(200)), "utf-8")
    file = folder / "survey.toml"
    corpora = "\n".join(f'{name} = "{folder / name}.conllu"' for name in ("en", "de"))
    file.write_text(
        f'out = "{folder / "out"}"\nalign = "sent_id"\n{more}\n[models]\nm = "some/model"\n[corpora]\n{corpora}\n',
        "utf-8",
    )
    return file


@pytest.mark.parametrize("order", [1, -1])
def test_a_plan_says_what_will_be_made_and_makes_nothing(
    order: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = write_survey(tmp_path)
    main(["study", *[str(file), "--plan"][::order]])
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].endswith("2 runs, 0 of them finished; then languages for upos")
    parts = [list(map(int, re.findall(r"(\d+) sentences", line))) for line in lines[1:]]
    assert parts[0] == parts[1]
    assert sum(parts[0]) == 200
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("options", "is_survey"),
    [
        (["s.toml"], True),
        (["--quiet", "s.toml"], True),
        (["--out", "o", "s.toml"], True),
        (["--config", "s.toml"], False),
        (["--config=s.toml"], False),
        (["--quiet"], False),
    ],
)
def test_a_file_of_questions_may_stand_after_options(
    options: list[str],
    is_survey: bool,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "s.toml").write_text('model = "m"\n')
    with pytest.raises(SystemExit, match="0"):
        main(["study", *options, "--help"])
    assert ("--plan" in capsys.readouterr().out) == is_survey


def test_help_tells_both_and_waits_for_no_jax(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["study", "--help"])
    assert "lca study FILE.toml" in capsys.readouterr().out
    script = """
import sys
from lca_jax.cli.main import main
try:
    main(["study", "x.toml", "--help"])
finally:
    print("jax" in sys.modules)
"""
    said = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False).stdout
    assert "--plan" in said
    assert said.splitlines()[-1] == "False"


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ("model = 1", "unknown settings model. Known: models, corpora, out"),
        ("tasks = 3", "`tasks` must be a list of texts, got 3"),
        ("seed = [", "cannot be read as TOML"),
        ('questions = ["what"]', "`questions` must be a list of"),
    ],
)
@pytest.mark.usefixtures("as_users_run_it")
def test_a_file_that_cannot_be_read_is_refused_by_name(more: str, said: str, tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=re.escape(said)) as caught:
        read_survey(write_survey(tmp_path, more))
    assert "survey.toml" in str(caught.value)
    (tmp_path / "empty.toml").write_text('[models]\nm = "a"\n', "utf-8")
    with pytest.raises(SettingsError, match="`out` is missing"):
        read_survey(tmp_path / "empty.toml")
