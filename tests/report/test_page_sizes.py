"""No page grows beyond what a browser opens at once: a hundred languages, thirty tasks, twenty thousand neurons."""

import json
import re
from copy import deepcopy
from itertools import combinations
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest

from lca_jax.axes import Neuron
from lca_jax.descriptors.activation_bins import ClassActivations
from lca_jax.descriptors.top_words import NeuronCard, SentenceHeat, TopWord
from lca_jax.report.formats import model_name
from lca_jax.report.neurons import NeuronLine, NeuronLines, render_neurons
from lca_jax.report.page import render_report
from lca_jax.report.saved_figures import with_saved_figures
from lca_jax.report.survey import render_survey_pages, write_survey_page
from tests.report.results import good
from tests.report.survey_results import many_languages

LARGEST = 2_000_000


def sizes(pages: dict[str, str]) -> dict[str, int]:
    return {name: len(page.encode()) for name, page in pages.items() if name.endswith(".html")}


def test_a_hundred_languages_make_no_large_page() -> None:
    found = many_languages(100)
    pages = render_survey_pages(found)
    assert max(sizes(pages).values()) < LARGEST, sizes(pages)
    assert set(sizes(pages)) == {"index.html", "languages-m-upos.html", "specific-m.html"}
    assert 'href="languages-m-upos.html"' in pages["index.html"]
    section = pages["languages-m-upos.html"]
    assert section.count("<tr") > 400
    assert 'href="../runs/m/l099/report/index.html"' in section
    header, *lines = pages["pairs-m-upos.csv"].splitlines()
    assert header.startswith("kind,one,other,share,neurons,overlap")
    assert len(lines) == 2 * 100 * 99 // 2
    assert len(pages["transfer-m-upos.csv"].splitlines()) == 1 + 100 * 100


def test_thirty_tasks_make_no_large_page_and_it_says_what_it_shortens() -> None:
    one, results = good(), good()
    results["tasks"] = {f"feats:Task{number}": deepcopy(one["tasks"]["upos"]) for number in range(30)}
    words = tuple(f"word{place}" for place in range(30))
    heat = SentenceHeat(words=words, labels=("NOUN",) * 30, values=(0.5,) * 30)
    top = tuple(TopWord(word, 0.5, 7) for word in words[:10])
    spread = tuple(ClassActivations(f"class {place}", 0.5, tuple(range(24))) for place in range(17))
    of_all: dict[str, Any] = {
        "classes": ("NOUN",),
        "top_words": top[:2],
        "sentences": (heat,) * 3,
        "activations": spread,
    }
    cards = {
        task: [NeuronCard(neuron=Neuron("residual", 2, index), rank=index + 1, **of_all) for index in range(8)]
        for task in results["tasks"]
    }
    told = "neurons and their sentences are shortened here"
    page = render_report(results, cards)
    assert len(page.encode()) < LARGEST
    assert told in page
    assert "2:7" in page
    whole = render_report(one, {"upos": cards["feats:Task0"]})
    assert told not in whole
    assert whole.count('<svg class="spread"') == 8


def lines(count: int) -> NeuronLines:
    words = tuple(TopWord(f"</script>{place}", (-1) ** place * 0.5, 3) for place in range(5))
    return NeuronLines(
        task="upos",
        model="m",
        rule="some rule",
        blocks=[("residual", layer) for layer in range(3)],
        classes=["NOUN", "VERB"],
        lines=[
            NeuronLine(place % 3, place // 3, 1 / (1 + place), 0.5, (1, 9), [place % 2], [(0, 1, 0.95)] * 3, words)
            for place in range(count)
        ],
    )


@pytest.mark.parametrize(("count", "shown"), [(30, 30), (20_000, None)])
def test_the_table_of_all_neurons_has_as_many_as_it_has_room_for(count: int, shown: int | None) -> None:
    page = render_neurons(lines(count), home="index.html", link="../rankings/upos.csv")
    assert len(page.encode()) < LARGEST
    (data,) = re.findall(r'<script type="application/json" id="data">(.*?)</script>', page, flags=re.DOTALL)
    rows = json.loads(data)["rows"]
    assert len(rows) == shown if shown else 10_000 < len(rows) < count
    assert rows[1][:9] == [2, 1, 0, 0.5, 0.5, 1, 9, [1], [[0, 1, 95]] * 3]
    assert json.loads(data)["forms"][0] == "</script>0"
    assert ("would make this page too large" in page) == (shown is None)


def test_every_figure_can_be_saved_by_itself(tmp_path: Path) -> None:
    page, files = with_saved_figures(render_report(good(), {}), folder="figures")
    assert len(files) >= 4
    for name, content in files.items():
        assert f'<a class="save" href="{name}" download>' in page
        root = ElementTree.fromstring(content)
        assert root.tag == "{http://www.w3.org/2000/svg}svg"
        assert float(root.attrib["width"]) > 100
        assert "var(" not in content
    out = write_survey_page(many_languages(4), tmp_path).parent
    trees = list(out.glob("figures/*.svg"))
    assert len(trees) == 2
    assert all(f'href="figures/{tree.name}"' in (out / "index.html").read_text("utf-8") for tree in trees)


def test_a_survey_of_many_sections_has_a_page_for_each() -> None:
    found: dict[str, Any] = many_languages(3)
    entry, cells = found["languages"]["m"], found["cells"]["m"]
    names = [f"m{number}" for number in range(9)]
    found |= {"models": names, "cells": dict.fromkeys(names, cells), "languages": dict.fromkeys(names, entry)}
    pages = render_survey_pages(found)
    links = set(re.findall(r'href="(languages-[^"]+)"', pages["index.html"]))
    assert links == {f"languages-{name}-upos.html" for name in names}
    assert links <= set(pages)
    assert all('<a href="index.html">' in pages[link] for link in links)


def test_made_results_are_those_of_many_languages() -> None:
    found = many_languages(5)["languages"]["m"]["tasks"]["upos"]
    assert len(found["sharing"]["neurons"]["pairs"]) == len(list(combinations(range(5), 2)))
    assert np.isclose(found["sharing"]["neurons"]["map"]["joins"][-1]["support"], 1.0)


def test_a_model_is_called_by_the_last_part_of_its_name() -> None:
    for name in (
        "sentence-transformers__all-MiniLM-L6-v2",
        "sentence-transformers/all-MiniLM-L6-v2",
        "a/all-MiniLM-L6-v2/",
    ):
        assert model_name(name) == "all-MiniLM-L6-v2"
