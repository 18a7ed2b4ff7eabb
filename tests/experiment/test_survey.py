"""A survey of a tiny model in several languages: what it finds, what it keeps, and what it refuses."""

import gzip
import json
import os
import re
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import lca_jax
from lca_jax import ElasticNet, Experiment, Model, Survey, load_model, load_probes, run, survey
from lca_jax.cli.show import show
from lca_jax.errors import CorpusError, HeldError, SettingsError, StoreError
from lca_jax.experiment.ablated import KINDS, Kind, file_of_measured, keep_measured
from lca_jax.experiment.joining import seated
from lca_jax.experiment.pages import description_file
from lca_jax.experiment.redundant import find_redundancy
from lca_jax.experiment.survey_cells import Cells
from lca_jax.experiment.survey_runs import Runs
from lca_jax.experiment.survey_settings import read_survey
from lca_jax.machine.checksums import checksums_in
from lca_jax.report.survey import render_survey
from tests.browser import browser
from tests.experiment.files import write_parallel
from tests.experiment.result_keys import keys_of
from tests.lost_locks import files_of_the_end
from tests.processes import ROOT
from tests.tiny_bert import write_bert

LANGUAGES = {"en": "abcdefgh", "de": "hijklmn", "fr": "opqrstuvw"}
RUN = {
    "probe": {"l1": [1e-3], "l2": [1e-2]},
    "replicates": 4,
    "draws": 2,
    "fractions": [0.25],
}


def write_files(folder: Path) -> Path:
    write_bert(folder / "bert")
    for name, words in LANGUAGES.items():
        write_parallel(folder / f"{name}.conllu", words, 80)
    return folder


def survey_of(texts: Path, out: Path, *languages: str, **settings: Any) -> Survey:
    settings = {"align": "sent_id", "run": RUN, "parts": (0.6, 0.2, 0.2), **settings}
    return Survey(
        models={"bert": str(texts / "bert")},
        corpora={name: texts / f"{name}.conllu" for name in languages},
        out=out,
        **settings,
    )


@pytest.fixture(scope="module")
def texts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_files(tmp_path_factory.mktemp("texts"))


@pytest.fixture(scope="module")
def two(texts: Path, tmp_path_factory: pytest.TempPathFactory) -> Survey:
    return survey_of(texts, tmp_path_factory.mktemp("survey") / "out", "en", "de")


@pytest.fixture(scope="module")
def results(two: Survey) -> dict[str, Any]:
    return survey(two)


def test_it_answers_and_says_from_what(
    two: Survey, results: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    assert json.loads((two.out / "results.json").read_text("utf-8")) == results
    entry = results["languages"]["bert"]["tasks"]["upos"]
    assert entry["compared"] == ["en", "de"]
    assert results["aligned"] == {"common": 80, "sentences": {"en": 80, "de": 80}}
    for kind in ("neurons", "groups"):
        assert [(pair["pair"], pair["share"]) for pair in entry["sharing"][kind]["pairs"]] == [
            (["en", "de"], share) for share in (0.01, 0.05, 0.2)
        ]
    assert {(one["source"], one["target"]) for one in entry["transfer"]} == {
        (source, target) for source in ("en", "de") for target in ("en", "de")
    }
    cell = results["cells"]["bert"]["en"]
    own = json.loads((two.out / cell["folder"] / "results.json").read_text("utf-8"))
    assert cell["tasks"]["upos"]["accuracy"] == own["tasks"]["upos"]["accuracy"]
    (of_own,) = [one for one in entry["transfer"] if one["source"] == one["target"] == "en"]
    assert of_own["accuracy"] == pytest.approx(own["tasks"]["upos"]["accuracy"]["test"])
    page = (two.out / "report/index.html").read_text("utf-8")
    for link in re.findall(r'href="([^"#:]+)"', page):
        assert (two.out / "report" / link).is_file()
    told = page.partition('class="finding"><strong>')[2].partition("<")[0]
    assert told.startswith(("The one pair of languages", "No pair of languages"))
    show(str(two.out))
    assert told in capsys.readouterr().out


@pytest.mark.slow
def test_every_page_opens_without_an_error(two: Survey, results: dict[str, Any], tmp_path: Path) -> None:
    assert results
    pages = sorted(two.out.rglob("*.html"))
    assert {path.parent.parent.name for path in pages} >= {two.out.name, "en", "de"}
    with browser(tmp_path) as opened:
        for page in pages:
            assert page.stat().st_size < 2_000_000
            opened.open(page)
            for link in opened.evaluate("[...document.querySelectorAll('a')].map(link => link.getAttribute('href'))"):
                assert link.startswith("#") or (page.parent / link).is_file(), (page, link)
        assert opened.problems == []
    if all(cell["tasks"]["upos"]["beats_baselines"] for cell in results["cells"]["bert"].values()):
        assert len(pages) == 5


def test_a_sentence_and_its_translations_are_in_one_part(two: Survey) -> None:
    cells = Cells(replace(two, out=two.out / "other")).experiments
    words = {}
    for part in ("train", "dev", "test"):
        corpora = [getattr(cells["bert", name], part) for name in ("en", "de")]
        assert corpora[0].sentence_count == corpora[1].sentence_count
        words[part] = corpora[0].sentence_count
    assert sum(words.values()) == 80
    assert min(words.values()) > 5


def test_every_key_is_documented(results: dict[str, Any]) -> None:
    page = (Path(lca_jax.__file__).parent / "experiment" / "README.md").read_text("utf-8")
    table = page.split("### Keys of a survey's results.json")[1].split("\n## ")[0]
    rows = [line.split("|")[1].strip(" `") for line in table.splitlines() if line.startswith("| `")]
    patterns = [re.compile(re.sub(r"[A-Z]+", "[^|]+", re.escape(row.replace(".", "|"))) + r"(\|.*)?") for row in rows]
    names = ["|".join(key) for key in keys_of(results)]
    assert [name for name in names if not any(pattern.fullmatch(name) for pattern in patterns)] == []
    assert [row for row, pattern in zip(rows, patterns, strict=True) if not any(map(pattern.fullmatch, names))] == []


@pytest.fixture
def loaded(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The models that are loaded while a test runs."""
    names: list[str] = []

    def load(name: str, **choices: Any) -> Model:
        names.append(Path(name).name)
        return load_model(name, **choices)

    monkeypatch.setattr("lca_jax.experiment.opening.load_model", load)
    return names


def test_no_model_is_loaded_for_what_is_finished(
    texts: Path, two: Survey, results: dict[str, Any], loaded: list[str]
) -> None:
    assert survey(two) == results
    assert loaded == []
    cells = Cells(two).experiments
    assert [one.finished for one in Runs(cells, two.out).plan()] == [True, True]
    config = texts / "bert/config.json"
    content = config.read_bytes()
    config.write_bytes(content + b"\n")
    assert not any(one.finished for one in Runs(cells, two.out).plan())
    config.write_bytes(content)
    ranking = two.out / "runs/bert/de/rankings/upos.csv"
    content = ranking.read_bytes()
    ranking.write_bytes(content + b"\n")
    assert [one.finished for one in Runs(cells, two.out).plan()] == [True, False]
    again = survey(two)
    assert loaded == ["bert"]
    assert ranking.read_bytes() == content
    assert {**again, "seconds": 0, "date": 0} == {**results, "seconds": 0, "date": 0}


@pytest.mark.slow
def test_a_language_that_is_added_repeats_no_other(
    texts: Path, two: Survey, results: dict[str, Any], loaded: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    # `config.json` and `inputs.json` are written whenever a run begins.
    made = [file for name in ("results.json", "probes.json", "upos.json") for file in two.out.rglob(f"runs/**/{name}")]
    before = {file: file.stat().st_mtime_ns for file in made}
    assert len(before) == 8
    with caplog.at_level("INFO", logger="lca_jax"):
        three = survey(survey_of(texts, two.out, "en", "de", "fr"))
    assert before == {file: file.stat().st_mtime_ns for file in before}
    assert loaded == ["bert"]
    done = [record.message for record in caplog.records]
    assert "cell bert en: finished before, skipped" in done
    assert "sharing bert upos: its input or settings changed, done again" in done
    assert three["languages"]["bert"]["tasks"]["upos"]["sharing"]["neurons"]["map"]["joins"]
    assert three["cells"]["bert"]["en"] == results["cells"]["bert"]["en"]
    again = survey(two)
    left_out = {"seconds": 0, "date": 0}
    assert {**again, **left_out} == {**results, **left_out}


KILLED = """
import os, sys
from pathlib import Path
import jax
jax.config.update("jax_platforms", "cpu")
from lca_jax import Survey, survey
from lca_jax.experiment.survey_settings import read_survey

out, deadly, join = Path(sys.argv[2]), sys.argv[4:], sys.argv[3] == "join"


def start(name):
    '''Starts a child that dies when it is about to rename a file of this name.'''
    if (child := os.fork()) == 0:
        def watch(event, arguments):
            if event == "os.rename" and str(arguments[1]).endswith(name):
                os._exit(9)

        if name:
            sys.addaudithook(watch)
        survey(read_survey(Path(sys.argv[1]), out=out), join=join)
        os._exit(0)
    return child


def end(child):
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


if join:
    print(*(end(child) for child in [start(name) for name in [*deadly, ""]]))
else:
    print(*(end(start(name)) for name in [*deadly, ""]))
"""


def what_it_left(folder: Path) -> Mapping[str, object]:
    told = json.loads((folder / "results.json").read_text("utf-8"))
    files = {name: sum_ for name, sum_ in checksums_in(folder).items() if name.startswith("answers/")}
    probes = [
        probe.weights.tobytes()
        for name in ("en", "de")
        for probe in load_probes(folder / "runs/bert" / name / "probes")
    ]
    return {"files": files, "probes": probes, "told": {**told, "seconds": 0, "date": 0}}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("how", "deadly"),
    [
        ("alone", ["de/probes/probes.json", "transfer/bert/upos.json", "report/index.html"]),
        ("join", ["results.json"]),
    ],
)
def test_what_is_killed_ends_with_the_same_results(
    texts: Path, two: Survey, results: dict[str, Any], tmp_path: Path, how: str, deadly: list[str]
) -> None:
    """Killed in a run, between the runs, among the answers, and before the page; or one of two who share the runs.

    Of the two, the first one dies at the end of its first run, which the other one then takes up.
    """
    assert results
    file = tmp_path / "survey.toml"
    corpora = "\n".join(f'{name} = "{texts / name}.conllu"' for name in ("en", "de"))
    file.write_text(
        f'align = "sent_id"\nparts = [0.6, 0.2, 0.2]\n[models]\nbert = "{texts / "bert"}"\n[corpora]\n{corpora}\n'
        "[run]\nreplicates = 4\ndraws = 2\nfractions = [0.25]\n[run.probe]\nl1 = [1e-3]\nl2 = [1e-2]\n"
    )
    assert read_survey(file, out=two.out) == replace(two, corpora={n: str(p) for n, p in two.corpora.items()})
    done = subprocess.run(
        [sys.executable, "-c", KILLED, str(file), str(tmp_path / "out"), how, *deadly],
        env=os.environ | {"PYTHONPATH": str(ROOT)},  # as many devices as here, whose number changes the last digits
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout.split() == [*["9"] * len(deadly), "0"]
    assert what_it_left(tmp_path / "out") == what_it_left(two.out)
    left = {path.name for path in (tmp_path / "out").rglob(".*") if path.name.startswith(".lock")}
    assert left <= ({".lock-1", ".lock-2"} if how == "join" else set())  # the seat of the dead one, which is free


def test_those_who_join_have_one_survey(texts: Path, two: Survey, results: dict[str, Any]) -> None:
    with seated(two.out) as (seat, _):
        assert seat == 1
        assert {**survey(two, join=True), "seconds": 0, "date": 0} == {**results, "seconds": 0, "date": 0}
        with pytest.raises(StoreError, match=r"Other processes work in .* with other settings"):
            survey(survey_of(texts, two.out, "en", "fr"), join=True)
        with pytest.raises(HeldError, match=f"is being written by process {os.getpid()}"):
            survey(two)
    assert (two.out / "results.json").exists()


@pytest.mark.parametrize("join", [False, True])
def test_a_survey_that_lost_its_folder_writes_no_answer(
    two: Survey, results: dict[str, Any], monkeypatch: pytest.MonkeyPatch, join: bool
) -> None:
    (two.out / "answers/cell/bert/en.json").unlink()
    with monkeypatch.context() as patch:
        place = "lca_jax.experiment.survey:describe_cell"
        assert files_of_the_end(patch, place, two.out, partial(survey, two, join=join))
    (two.out / ".lock-0").unlink()
    assert {**survey(two), "seconds": 0, "date": 0} == {**results, "seconds": 0, "date": 0}


def test_a_plan_makes_nothing(texts: Path, two: Survey, results: dict[str, Any]) -> None:
    assert results
    before = {path for path in two.out.rglob("*") if not path.name.startswith(".lock")}
    changed = survey_of(texts, two.out, "en", "fr", run={**RUN, "drop": 0.1})
    planned = Runs(Cells(changed).experiments, changed.out).plan()
    assert [(one.corpus, one.finished) for one in planned] == [("en", False), ("fr", False)]
    assert sum(planned[1].sentences.values()) == 80
    assert Runs(Cells(survey_of(texts, two.out, "en", "fr")).experiments, two.out).plan()[0].finished
    assert {path for path in two.out.rglob("*") if not path.name.startswith(".lock")} == before


def test_folders_of_others_are_refused(texts: Path, two: Survey, results: dict[str, Any], tmp_path: Path) -> None:
    assert results
    part = texts / "en.conllu"
    probe = ElasticNet(l1=1e-2, l2=1e-2)
    with pytest.raises(StoreError, match="is the folder of a survey"):
        run(Experiment(model=str(texts / "bert"), train=part, test=part, out=two.out, probe=probe))
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(StoreError, match=r"not the folder of a survey .* holds config\.json"):
        survey(survey_of(texts, tmp_path, "en", "de"))


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"corpora": {"en": "en.conllu"}}, "One model on one corpus is a run"),
        ({"questions": ("architectures",)}, "The question `architectures` needs two `models` or more"),
        ({"corpora": {"en/us": "a", "de": "b"}}, r"letters, digits, `_`, `\.` and `-`, got 'en/us'"),
        ({"corpora": {"en": "a", "EN": "b"}}, "in the case of letters alone"),
        ({"corpora": {"en": {"train": "a"}, "de": "b"}}, r"`corpora\.en` has no `test`"),
        ({"corpora": {"en": {"file": "a", "test": "c"}, "de": "b"}}, "either a `file`, or `train` and `test`"),
        ({"corpora": {"en": {"train": "a", "test": "c"}, "de": "b"}, "align": "sent_id"}, "is divided already"),
        ({"corpora": {"en": {"file": "a", "layers": [0]}, "de": "b"}}, "`layers` cannot be a setting of `corpora.en`"),
        ({"models": {"m": {"model": "a", "heads": "head"}}}, "`heads` cannot be a setting of `models.m` alone"),
        ({"run": {"texts": {"colour": 1}}}, "`texts` has no colour"),
        ({"run": {"replicates": 2}}, "`replicates` must be 4 or more, got 2"),
        ({"run": {"layer": [1]}}, "Unknown settings layer of the run of m on en"),
        ({"run": {"fractions": [2.0]}}, r"`fractions` must each be in \(0, 1\]"),
        ({"models": {"m": {"layers": [0]}}}, r"`models\.m` needs `model`"),
        ({"parts": (0.5, 0.5)}, "`parts` must be a list"),
    ],
)
@pytest.mark.usefixtures("as_users_run_it")
def test_settings_that_cannot_be_are_refused(changes: dict[str, Any], said: str) -> None:
    settings: dict[str, Any] = {"models": {"m": "a/b"}, "corpora": {"en": "a", "de": "b"}, "out": Path("o"), **changes}
    with pytest.raises(SettingsError, match=said):
        Survey(**settings)


def test_settings_of_models_and_corpora_come_before_those_of_all() -> None:
    asked = Survey(
        models={"m": {"model": "a/b", "layers": [0, 1]}, "n": "c/d"},
        corpora={"en": {"file": "a", "max_train_words": 5}, "de": "b"},
        out=Path("o"),
        run={"layers": [3], "max_train_words": 9},
    )
    assert asked.questions == ("languages", "architectures")
    parts = {"train": Path("t"), "test": Path("t")}
    made = {cell: asked.experiment(*cell, parts) for cell in asked.cells}
    assert [(one.layers, one.max_train_words) for one in made.values()] == [
        ((0, 1), 5),
        ((0, 1), 9),
        ((3,), 5),
        ((3,), 9),
    ]
    assert [one.model for one in made.values()] == ["a/b", "a/b", "c/d", "c/d"]


def test_files_that_cannot_be_aligned_are_refused(texts: Path, tmp_path: Path) -> None:
    other = tmp_path / "es.conllu"
    other.write_text((texts / "en.conllu").read_text("utf-8").replace("sent_id = s", "sent_id = t"), "utf-8")
    asked = survey_of(texts, tmp_path / "out", "en", "de")
    with pytest.raises(CorpusError, match="no sent_id is in all of them"):
        survey(replace(asked, corpora={**asked.corpora, "es": other}))
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_what_could_be_spared_is_found_of_a_run(two: Survey, results: dict[str, Any]) -> None:
    experiment = Cells(two).experiments["bert", "en"]
    of_run = json.loads((experiment.out / "results.json").read_text("utf-8"))
    found = json.loads(json.dumps(find_redundancy(experiment, of_run)))
    task = found["tasks"]["upos"]
    assert task["disjoint_sets"]["neurons"][0] <= of_run["tasks"]["upos"]["minimal"]["neurons"]
    assert all(accuracy >= task["least"] for accuracy in task["disjoint_sets"]["accuracies"])
    assert task["least"] == pytest.approx(
        of_run["tasks"]["upos"]["accuracy"]["dev"]
        - 0.01 * (of_run["tasks"]["upos"]["accuracy"]["dev"] - of_run["tasks"]["upos"]["minimal"]["constant_dev"])
    )
    assert found["clusters"]["neurons"] == 96
    assert task["one_a_cluster"]["neurons"] == found["clusters"]["clusters"]
    assert np.allclose(np.diag(found["layers"]["cka"]["values"]), 1, atol=1e-4)
    everything = results | {"questions": ["languages", "redundancy"], "redundancy": {"bert": {"en": found}}}
    assert "What could be spared: bert on en" in render_survey(everything)


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_what_is_measured_of_a_model_later_is_read_again(two: Survey, results: dict[str, Any], kind: Kind) -> None:
    assert results
    cells = Cells(two).experiments
    place = cells["bert", "en"].out
    assert Runs(cells, two.out).plan()[0].finished
    keep_measured(place, kind, "upos", {}, request=None)
    assert not Runs(cells, two.out).plan()[0].finished
    (place / file_of_measured(kind, "upos")).unlink()
    assert Runs(cells, two.out).plan()[0].finished


def test_descriptions_come_onto_the_page_of_all_neurons(two: Survey, results: dict[str, Any]) -> None:
    assert results
    cells = Cells(two).experiments
    experiment = cells["bert", "en"]
    file = description_file(experiment.out)
    file.parent.mkdir()
    said = {"layer": "1-residual", "index": "3", "description": "first words of a sentence"}
    file.write_bytes(gzip.compress(json.dumps(said).encode()))
    assert not Runs(cells, two.out).plan()[0].finished
    run(experiment)
    page = (experiment.out / "report/neurons-upos.html").read_text("utf-8")
    (data,) = re.findall(r'id="data">(.*?)</script>', page, flags=re.DOTALL)
    told = {(row[1], row[2]): row[-1] for row in json.loads(data)["rows"]}
    assert [where for where, text in told.items() if text] == [(1, 3)]
    assert '<th scope="col">description</th>' in page
    file.write_bytes(b"no gzip")
    with pytest.raises(StoreError, match="Start `lca describe` again, or delete it"):
        run(experiment)
