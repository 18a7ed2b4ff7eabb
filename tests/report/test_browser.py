"""The pages in a browser: no error in the console, tables that search and sort, wide, narrow, dark and on paper."""

from pathlib import Path

import pytest

from lca_jax.axes import Neuron
from lca_jax.descriptors.activation_bins import ClassActivations
from lca_jax.descriptors.top_words import NeuronCard, SentenceHeat, TopWord
from lca_jax.report.neurons import NeuronLine, NeuronLines, render_neurons
from lca_jax.report.page import write_report
from lca_jax.report.survey import write_survey_page
from tests.browser import Browser, browser
from tests.report.results import good
from tests.report.survey_results import many_languages

RIGHT_TO_LEFT = ("هذا", "كتاب", "جديد", "2026", "<b>")
OVERFLOW = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
INSIDE = """(() => {
    document.querySelector('.neuron').open = true;
    const spread = document.querySelector('svg.spread'), box = spread.getBoundingClientRect();
    const ends = one => one.getBoundingClientRect();
    const within = one => ends(one).left >= box.left && ends(one).right <= box.right;
    return spread.querySelectorAll('path').length === 3 && [...spread.querySelectorAll('text')].every(within);
})()"""
GROUND = "getComputedStyle(document.body).backgroundColor"


def write_pages(folder: Path) -> list[Path]:
    heat = SentenceHeat(words=RIGHT_TO_LEFT, labels=("DET",) * 5, values=(0.5, -1.0, 2.0, None, 0.1))
    top = tuple(TopWord(word, 0.5, 7) for word in RIGHT_TO_LEFT)
    spread = tuple(ClassActivations(name, 0.5, (0, 3, 9, 1) * 6) for name in ("NOUN", RIGHT_TO_LEFT[0], "<b>"))
    card = NeuronCard(
        neuron=Neuron("residual", 2, 7), rank=1, classes=("NOUN",), top_words=top, sentences=(heat,), activations=spread
    )
    lines = [
        NeuronLine(
            place % 3, place // 3, 1 / (1 + place), place / 250, (1, 9 + place), [place % 2], [], top[place % 5 :]
        )
        for place in range(250)
    ]
    table = NeuronLines(
        task="upos", model="m", rule="r", blocks=[("residual", layer) for layer in range(3)], classes=["N", "V"],
        lines=lines,
    )  # fmt: skip
    run = write_report(good(), {"upos": [card]}, folder / "run", tables={"upos": "neurons-upos.html"})
    neurons = run.parent / "neurons-upos.html"
    neurons.write_text(render_neurons(table, home="index.html", link="../rankings/upos.csv"), "utf-8")
    write_survey_page(many_languages(18), folder / "many")
    return [
        run,
        neurons,
        write_survey_page(many_languages(3), folder / "few"),
        *sorted((folder / "many").glob("*.html")),
    ]


@pytest.mark.slow
def test_pages_open_without_an_error_and_answer(tmp_path: Path) -> None:
    pages = write_pages(tmp_path)
    with browser(tmp_path) as opened:
        for page in pages:
            opened.open(page)
            assert opened.problems == [], page
            assert opened.evaluate("document.title")
            light = opened.evaluate(GROUND)
            opened.open(page, width=390, dark=True)
            assert opened.evaluate(OVERFLOW) <= 0, page
            assert opened.evaluate(GROUND) != light
        opened.open(pages[0])
        direction = (
            "getComputedStyle([...document.querySelectorAll('bdi')].find(one => one.textContent === 'كتاب')).direction"
        )
        assert opened.evaluate(direction) == "rtl"
        assert opened.evaluate(INSIDE), "words of a histogram stand outside of its drawing"
        searches_and_sorts_neurons(opened, pages[1])
        searches_and_sorts_runs(opened, pages[2])
        leads_from_the_first_page_to_sections_and_back(opened, pages[3])
        assert opened.problems == []
        for page in pages[:3]:
            opened.open(page)
            assert opened.print().startswith(b"%PDF")
        broken = tmp_path / "broken.html"
        broken.write_text("<script>missing()</script>")
        opened.open(broken)
        assert "missing is not defined" in opened.problems[0]


def type_into(opened: Browser, box: str, text: str) -> None:
    opened.evaluate(f"{{const box = {box}; box.value = '{text}'; box.dispatchEvent(new Event('input'))}}")


def searches_and_sorts_neurons(opened: Browser, page: Path) -> None:
    opened.open(page)
    rows = "document.querySelectorAll('#rows tr').length"
    count, first = "document.getElementById('count').textContent", "document.querySelector('#rows th').textContent"
    assert (opened.evaluate(rows), opened.evaluate(count)) == (100, "250 of 250 neurons")
    opened.evaluate("document.getElementById('more').click()")
    assert opened.evaluate(rows) == 200
    search, layer, kind = (f"document.getElementById('{name}')" for name in ("search", "layer", "class"))
    type_into(opened, search, "2:7")
    assert opened.evaluate(count) == "11 of 250 neurons"
    assert opened.evaluate(first) == "2:7"
    type_into(opened, search, "")
    type_into(opened, layer, "1")
    type_into(opened, kind, "1")
    assert opened.evaluate(count) == "42 of 250 neurons"
    opened.evaluate("document.querySelector('[data-by=frequency]').click()")
    assert opened.evaluate(first) == "1:82"
    opened.evaluate("document.querySelector('[data-by=frequency]').click()")
    assert opened.evaluate(first) == "1:0"
    assert opened.evaluate("document.querySelectorAll('#rows b').length") == 0


def searches_and_sorts_runs(opened: Browser, page: Path) -> None:
    opened.open(page)
    shown = "[...document.querySelectorAll('.sortable tbody tr')].filter(row => row.getClientRects().length)"
    names = f"{shown}.map(row => row.cells[0].innerText)"
    assert opened.evaluate(names) == ["l000", "l001", "l002"]
    button = "document.querySelector('.sortable th button').click()"
    opened.evaluate(button)
    opened.evaluate(button)
    assert opened.evaluate(names) == ["l002", "l001", "l000"]
    type_into(opened, "document.querySelector('.filter input')", "l001")
    assert opened.evaluate(names) == ["l001"]


def leads_from_the_first_page_to_sections_and_back(opened: Browser, page: Path) -> None:
    opened.open(page)
    link = opened.evaluate("document.querySelector('.finding a').getAttribute('href')")
    opened.open(page.parent / link)
    assert opened.evaluate("document.querySelectorAll('.many td').length") == 3 * 18 * 18
    home = opened.evaluate("document.querySelector('.eyebrow a').getAttribute('href')")
    assert (page.parent / home) == page
