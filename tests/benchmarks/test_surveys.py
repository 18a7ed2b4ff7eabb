"""The program of the two surveys: what it asks for, and what it writes, on results that were made before."""

import json
from pathlib import Path
from typing import Any

import pytest

from benchmarks import surveys
from benchmarks.surveys import Settings, architectures, languages, told
from lca_jax.errors import CorpusError


def settings(folder: Path, **changes: Any) -> Settings:
    return Settings(
        **{
            "survey": "languages",
            "data": folder / "data",
            "models": (folder / "none", folder / "models"),
            "work": folder / "work",
            "out": folder / "out.json",
            **changes,
        }
    )


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in surveys.MODELS.values():
        (tmp_path / "models" / name).mkdir(parents=True)
    (tmp_path / "data/ud/pud").mkdir(parents=True)
    return tmp_path


def test_it_asks_for_all_languages_and_five_models(folder: Path) -> None:
    with pytest.raises(CorpusError, match="has 0 treebanks"):
        languages(settings(folder))
    for name in ("de", "en", "zh"):
        (folder / f"data/ud/pud/{name}_pud-ud-test.conllu.gz").touch()
    asked = languages(settings(folder))
    assert (list(asked.corpora), asked.questions, asked.align) == (["de", "en", "zh"], ("languages",), "sent_id")
    assert asked.run["replicates"] == 20
    five = architectures(settings(folder, survey="architectures"))
    assert (len(five.models), five.questions, five.run["untrained"]) == (5, ("architectures",), 0)
    with pytest.raises(CorpusError, match="No folder of --models has me5-small"):
        languages(settings(folder, models=(folder / "none",)))


def test_it_tells_what_the_survey_cost_and_found(folder: Path) -> None:
    for name in ("de", "en"):
        (folder / f"data/ud/pud/{name}_pud-ud-test.conllu.gz").touch()
    asked = languages(settings(folder))
    steps = {"probe": {"seconds": 2.0}, "ablate upos": {"seconds": 1.0}, "ablate feats": {"seconds": 0.5}}
    for place in (asked.out, asked.folder_of("E5", "de"), asked.folder_of("E5", "en")):
        (place / "report").mkdir(parents=True)
        (place / "steps.json").write_text(json.dumps(steps))
        (place / "report/index.html").write_text("page")
    entry = dict.fromkeys((*surveys.KEPT, "words", "class_neurons"), 1)
    found = {
        "cells": {"E5": {name: {"tasks": {"upos": entry}} for name in ("de", "en")}},
        "share": 0.05,
        "languages": {
            "E5": {
                "specific": {"neurons": 3, "first": [["residual", 1, 2]]},
                "pairs": [{"share": 0.01, "overlap": 0.5}, {"share": 0.05, "overlap": 1 / 3}],
            }
        },
    }
    content = told(asked, found, last_start=1.5)
    assert content["seconds"]["steps"] == 3 * 3.5
    assert content["seconds"]["largest_steps"] == {"probe": 6.0, "ablate": 4.5}
    assert content["peak_bytes"] > 1e7
    assert content["page_bytes"]["report/index.html"] == 4
    assert set(content["cells"]["E5"]["de"]["upos"]) == {*surveys.KEPT, "words"}
    assert content["languages"] == {"E5": {"specific": {"neurons": 3}, "pairs": [{"share": 0.05, "overlap": 0.3333}]}}
    assert str(folder) not in json.dumps(content)
