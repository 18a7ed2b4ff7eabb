"""The README's script runs as it is printed, its tables are complete, and the citation is of this version."""

import re
import tomllib
from pathlib import Path

import pytest

import lca_jax
from lca_jax.models.families import FAMILIES
from tests.stores import planted_store

README = Path(__file__).parents[1] / "README.md"
MODELS = README.parent / "lca_jax" / "models" / "README.md"


def test_the_table_of_models_names_every_family() -> None:
    section = MODELS.read_text("utf-8").partition("\n## Families\n")[2].partition("\n## ")[0]
    cells = re.findall(r"^\| ((?:`[\w-]+` ?)+)\|", section, re.MULTILINE)
    named = [name for cell in cells for name in re.findall(r"`([\w-]+)`", cell) if name != "model_type"]
    assert sorted(named) == sorted(FAMILIES)


def test_the_citation_names_this_version_and_license() -> None:
    project = tomllib.loads((README.parent / "pyproject.toml").read_text("utf-8"))["project"]
    citation = (README.parent / "CITATION.cff").read_text("utf-8").splitlines()
    assert f"version: {project['version']}" in citation
    assert f"license: {project['license']}" in citation


@pytest.mark.slow
def test_the_script_runs(minilm_folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    script = re.search(r"```python\n(.*?)```", README.read_text("utf-8"), re.DOTALL)
    assert script is not None
    assert minilm_folder.is_dir()
    exec(compile(script[1], "README.md", "exec"), {})
    printed = capsys.readouterr().out
    points = re.findall(
        r"^ +(0\.\d+) +\d+ +([\d.]+) +([\d.]+) +[\d.]+ +([\d.]+) +[\d.]+ +[\d.]+$", printed, re.MULTILINE
    )
    assert [point[0] for point in points] == ["0.1", "0.2"]
    for _, top, random, bottom in points:
        assert float(top) > float(random) > float(bottom)
    assert re.search(r"^upos: the first \d+ neurons \(0\.\d+ of all\), the smallest set tried", printed, re.MULTILINE)
    measured = re.search(
        r"^upos on 1074 words: accuracy 0\.\d+ \(0\.\d+ to 0\.\d+\).*most frequent class 0\.\d+, word type majority "
        r"0\.\d+, control 0\.\d+; beats its baselines; selectivity 0\.\d+$",
        printed,
        re.MULTILINE,
    )
    assert measured
    # What the README shows is what was printed, but for the digits, whose last ones differ between machines.
    shown = README.read_text("utf-8").partition("```\n\n    upos on")[2].partition("\n\n")[0]
    assert words_of(shown) == words_of(printed.partition("upos on")[2])


def words_of(text: str) -> list[str]:
    return re.sub(r"[\d.]+|True|False", "#", text).split()


def test_the_line_about_top_words_runs() -> None:
    store, columns = planted_store(), [3, 0]
    (line,) = re.findall(r"`(lca\.top_words\(.*?\))` \|", README.read_text("utf-8"))
    lists = eval(line, {"lca": lca_jax, "store": store, "columns": columns})
    assert [bool(listed) for listed in lists] == [True, True]


def test_the_page_is_short_enough_to_forward() -> None:
    assert len(README.read_bytes()) <= 12_000
