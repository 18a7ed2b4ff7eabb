"""The report: numbers as words, geometry of charts by hand, and a page that no corpus can break."""

import copy
import math
import re
import sys
from dataclasses import replace
from html.parser import HTMLParser
from typing import Any

import numpy as np
import pytest

from lca_jax.axes import Neuron
from lca_jax.descriptors.top_words import NeuronCard, SentenceHeat, TopWord
from lca_jax.errors import DataError, MissingExtraError, SettingsError
from lca_jax.report import figures, formats, scales, search_grid
from lca_jax.report.environment import page_environment
from lca_jax.report.layer_curve import draw_by_layer
from lca_jax.report.page import render_report, write_report
from tests.report.results import CURVE, RESULTS

VOID = {"input", "meta", "link", "br", "line", "circle", "rect", "path", "polyline", "polygon"}


def _card(word="not", label="PART", task_class="VERB", rank=1):
    heat = SentenceHeat(words=(word, "go", "x"), labels=(label, None, "X"), values=(-2.5, 0.04, None))
    return NeuronCard(
        neuron=Neuron("residual", 2, 7),
        rank=rank,
        classes=(task_class,),
        top_words=(TopWord(word, -1.0, 12), TopWord("go", 0.625, 3)),
        sentences=(heat,),
    )


class _Page(HTMLParser):
    """Reads a page: its tags with attribute names, its attributes, its text; every tag must be closed in order."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.links, self.pieces, self.open = [], [], [], []
        self.feed(text)
        self.close()
        assert self.open == []
        self.text = " ".join(" ".join(self.pieces).split())

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, tuple(sorted(name for name, _ in attrs))))
        self.links += [value for name, value in attrs if name in ("href", "src")]
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        if tag not in VOID:
            assert self.open.pop() == tag

    def handle_data(self, data):
        if not self.open or self.open[-1] != "style":
            self.pieces.append(data)


def test_every_number_is_on_the_page():
    shown = _Page(render_report(RESULTS, {"upos": [_card()]}, links={"upos": "../rankings/upos.csv"}))
    minus = "\N{MINUS SIGN}"
    for expected in [
        *("2026-01-02", "24 neurons", "3 layers of 8", "20,303 words", "drawn from 40,404 words", "2,505 words"),
        *("2,003", "17.1%", "76.2%", "88.1%", "87.6%", "86.1% to 89.2%", "54.3%", "+33.3 points", "20.8%", "87.2%"),
        *("84.7%", "82.9% to 86.3%", "25.2%", "59.5%", "keeps 99.0% of the gain", "2.9 points less"),
        *("61.1%", "58.1% to 63.3%", "41.2% ± 2.13%", "21.4%", "71.5%", "62.2%", "residual 0: 50.0%", "mean layer 0.7"),
        *(
            "mean of 5 random sets",
            "accuracy on 2,003 test words",
            "share of the 24 neurons kept",
            "share of 5 neurons",
        ),
        *("residual 2, trained: 83.1%", "residual 0, untrained: 73.7%", "all layers together 87.6%", "residual layer"),
        *("1,204", "91.9%", "90.1% to 93.4%", "82.8%", "60%, 25%, 15%", "6 places", "4 distinct", "1.5 classes"),
        *("NOUN VERB 97 They walks home", "0.123", "0.2340", "77.7%", "1e-4", "2e-5", "0.4567", "3.1e-6", "417"),
        *("32.1%", "20,001", "2,002", "1,201", "no piece: 7", "longer than a window: 2", "3.2 s", "3 min 20 s"),
        *("3 min 23 s", "31,337", "f00d", "a, b", "distributed no", "jax 0.10.2", "Seed 11", "2:7", f"{minus}1.00 ×12"),
        *("81.8%", "80.3% to 82.9%", "85.1% to 88.7%", "2.19", "1.04", "penalty rule largest S on dev", "0, 0.0001"),
        *("+0.62 ×3", f"{minus}2.5", "70.0%", "30.0%", "mean 1.23 inside", f"weight {minus}0.417", "upos.csv"),
        *(f"{minus}0.45 outside", "1:7 (+0.96)", "lca run --model tiny --train train.conllu --out RUN", "Durrani"),
    ]:
        assert expected in shown.text, expected
    assert "../rankings/upos.csv" in shown.links


@pytest.mark.parametrize(
    ("unit", "read", "opened"),
    [
        ("word", ("20,303 words", "2,505 words"), "see it at work"),
        ("piece", ("the pieces of 20,303 words", "the pieces of 2,505 words"), "see it at work"),
        ("sentence", ("1,201 sentences", "103 sentences"), "read them whole"),
    ],
)
def test_counts_are_of_what_was_classified(unit, read, opened):
    results = copy.deepcopy(RESULTS)
    results["tasks"]["upos"]["unit"] = unit
    cards = [_card("not") if unit != "sentence" else _card("It was " + "very " * 20 + "late.")]
    shown = _Page(render_report(results, {"upos": cards})).text
    assert f"read 24 neurons (3 layers of 8) of tiny at {read[0]} of train.conllu" in shown
    assert f"was tested on {read[1]} of test.conllu" in shown
    assert f"train {unit}s dev {unit}s test {unit}s" in shown
    assert f"class test {unit}s recall" in shown
    assert f"sentences words drawn from words {unit}s left out, by reason" in shown
    assert f"{unit.capitalize()}s from the dev part, with their number" in shown
    assert f"relative to the strongest {unit}: " in shown
    assert f"Open a neuron to {opened}." in shown
    assert ("Random labels go by word type, so sentences have none" in shown) == (unit == "sentence")
    twice = {**results, "tasks": dict.fromkeys(("a", "b"), results["tasks"]["upos"])}
    overview = _Page(render_report(twice, {})).text
    assert f"task classes test {unit}s most frequent class word-type majority random labels" in overview
    assert ("Selectivity is the distance from ■ to ●" in overview) == (unit != "sentence")
    assert ("very " * 20 in shown) == (unit == "sentence")
    none = replace(cards[0], top_words=())
    assert f"no {unit} occurs often enough" in _Page(render_report(results, {"upos": [none]})).text


def test_the_page_asks_nothing_of_the_network_and_runs_no_script():
    text = render_report(RESULTS, {"upos": [_card()]})
    shown = _Page(text)
    assert all(link.startswith("#") or link == "data:," for link in shown.links)
    assert not {"script", "img", "iframe", "object", "form"} & {tag for tag, _ in shown.tags}
    assert "@import" not in text
    assert "url(" not in text


@pytest.mark.parametrize(
    "hostile", ["<script>a()</script>", '"onload="alert(1)"x>', "</style></title>&amp;'", "{{ 1/0 }}{% x %}"]
)
def test_no_word_becomes_markup(hostile):
    def render(word):
        results = copy.deepcopy(RESULTS)
        task = results["tasks"].pop("upos")
        task["classes"][0] = word
        task["per_class"][word] = task["per_class"].pop("NOUN")
        task["keep"][word] = task["keep"].pop("retrain")
        task["confusions"][0].update(gold=word, predicted=word, examples=[{"before": word, "word": word}])
        task["top_neurons"][0].update({"class": word, "site": word})
        task["most_frequent_class"]["name"] = word
        task["unseen_labels"]["test"] = {word: 2}
        task["by_layer"][0]["layer"] = word
        results["command"] = results["date"] = word
        task["layer_names"][0] = word
        results["tasks"][word] = task
        results["model"].update({"name": word, word: word})
        results["corpus"]["train"].update(name=word, excluded={word: 1})
        results["seconds"][word] = 1.0
        results["device"][word] = [word]
        results["versions"][word] = word
        results["seed"] = word
        return _Page(render_report(results, {word: [_card(word, word, word)]}))

    harmless, shown = render("x" * len(hostile)), render(hostile)
    assert shown.tags == harmless.tags
    assert shown.text.count(hostile) > 20


def test_long_words_are_shortened_and_their_full_form_kept():
    word = "http://" + "long" * 50
    text = render_report(RESULTS, {"upos": [_card(word)]})
    assert formats.shorten(word, 28) in _Page(text).text
    assert f'title="{word}"' in text


def test_direction_of_a_sentence_follows_its_first_letter():
    assert formats.direction(["12", "(", "سلام", "word"]) == "rtl"
    assert formats.direction(["12", "word", "سلام"]) == "ltr"
    assert formats.direction([]) == "ltr"
    assert '<ol class="sentence" dir="rtl">' in render_report(RESULTS, {"upos": [_card("سلام")]})


def _paths(value, above=()):
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, part in items:
        yield (*above, key)
        yield from _paths(part, (*above, key))


@pytest.mark.slow
def test_any_key_may_be_missing_or_empty():
    needed = [("format",), ("tasks",), ("tasks", "upos")]
    keys = [path for path in _paths(RESULTS) if path not in needed and isinstance(path[-1], str)]
    one_a_kind = {tuple(key for key in path if isinstance(key, str)): path for path in keys}
    for path in one_a_kind.values():
        *above, last = path
        results = copy.deepcopy(RESULTS)
        holder: Any = results
        for key in above:
            holder = holder[key]
        if isinstance(holder[last], float):
            holder[last] = math.nan
        else:
            del holder[last]
        text = _Page(render_report(results, {"upos": [_card()]})).text
        assert not re.search(r"\b(nan|None|Undefined)\b", text), path
    absent, null = copy.deepcopy(RESULTS), copy.deepcopy(RESULTS)
    del absent["tasks"]["upos"]["top_neurons"][0]["copies"]
    null["tasks"]["upos"]["top_neurons"][0]["copies"] = None
    assert render_report(absent, {}) == render_report(null, {}), "a null reads as a missing key"
    assert "upos" in render_report({"format": 5, "tasks": {"upos": {}}}, {})


def test_hundreds_of_classes_stay_in_a_box():
    results = copy.deepcopy(RESULTS)
    names = [f"(S[dcl]\\NP)/{index:03}" for index in range(294)]
    results["tasks"]["upos"]["per_class"] = {
        name: {"neurons": index, "recall": 0.5, "words": index} for index, name in enumerate(names)
    }
    text = render_report(results, {})
    assert "The other 274 classes" in text
    first, rest = text.partition("Which neurons for which class?")[2].split("The other 274 classes")
    assert [name for name in reversed(names) if name in first] == names[:-21:-1], "the most frequent ones come first"
    assert [re.sub(r"\s", "", name) for name in re.findall(r"\(S\[dcl\]\S+?(?=</bdi>)", rest)] == names[-21::-1]


def test_cards_beyond_the_first_dozen_are_folded():
    text = render_report(RESULTS, {"upos": [_card(rank=rank) for rank in range(1, 16)]})
    assert text.count('<details class="neuron"') == 15
    assert "5 more neurons" in text


def test_the_answer_comes_first():
    """The verdict and the first neurons stand before every chart and table, and the page names no local path."""
    results = copy.deepcopy(RESULTS)
    results["model"]["name"] = "/home/someone/models/tiny"
    text = render_report(results, {"upos": [_card()]})
    order = ["beats its baselines", "The first neurons of the ranking", "Does the ranking hold?", "<table"]
    assert [text.index(part) for part in order] == sorted(text.index(part) for part in order)
    assert "/home/someone" not in text


@pytest.mark.parametrize("count", [2, 30])
def test_many_tasks_are_one_table_that_sorts_and_a_folded_section_each(count):
    results = copy.deepcopy(RESULTS)
    task = results["tasks"].pop("upos")
    for number in range(count):
        one = copy.deepcopy(task)
        one["accuracy"]["test"] = 0.5 + ((7 * number) % count) / 100
        results["tasks"][f"t{number:02}"] = one
    del results["tasks"]["t01"]["accuracy"]
    text = render_report(results, {})
    assert text.count('<details class="task"') == count
    assert text.count('<details class="task" id="task-0" open') == (count == 2)
    rows = re.findall(r'<tr role="row" style="([^"]*)">\s*<th scope="row" role="rowheader"><a href="#task-(\d+)"', text)
    places = [{name: int(place) for name, place in re.findall(r"--(\w+): (\d+)", style)} for style, _ in rows]
    assert [int(number) for _, number in rows] == list(range(count))
    for by in ("name", "accuracy", "lead", "selectivity", "neurons", "layer"):
        assert sorted(row[by] for row in places) == list(range(count))
        assert f'class="by-{by}"' in text
        assert f"order: var(--{by})" in text
    accuracies = [entry.get("accuracy", {}).get("test", -1) for entry in results["tasks"].values()]
    assert [row["accuracy"] for row in places] == [
        sorted(range(count), key=lambda index: -accuracies[index]).index(index) for index in range(count)
    ]


def test_the_page_is_written_whole_and_the_same_every_time(tmp_path):
    inside = write_report(RESULTS, {"upos": [_card("\ud800")]}, tmp_path / "report")
    assert inside == tmp_path / "report" / "index.html"
    named = write_report(RESULTS, {"upos": [_card("\ud800")]}, tmp_path / "page.html")
    assert named == tmp_path / "page.html"
    assert inside.read_bytes() == named.read_bytes()
    beside = [path.name for path in tmp_path.rglob("*") if path.suffix != ".svg" and path.name != "figures"]
    assert sorted(beside) == ["index.html", "page.html", "report"]


def test_errors_say_the_way_out(monkeypatch):
    with pytest.raises(DataError, match="must have format 5, got 1"):
        render_report({**RESULTS, "format": 1}, {})
    with pytest.raises(DataError, match="at least one task"):
        render_report({"format": 5, "tasks": {}}, {})
    with pytest.raises(SettingsError, match=r"tasks with results \(upos\), got chunk, xpos"):
        render_report(RESULTS, {"xpos": [], "chunk": []})
    page_environment.cache_clear()
    monkeypatch.setitem(sys.modules, "jinja2", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'lca-jax\[plots\]'"):
        render_report(RESULTS, {})


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        (formats.percent(0.934), "93.4%"),
        (formats.percent(-0.0125, 2), "\N{MINUS SIGN}1.25%"),
        (formats.percent(np.float32(0.5)), "50.0%"),
        (formats.share(0.001), "0.1%"),
        (formats.share(1), "100%"),
        (formats.points(0.01), "1\N{NO-BREAK SPACE}point"),
        (formats.points(0.005), "0.5\N{NO-BREAK SPACE}points"),
        (formats.integer(25094), "25,094"),
        (formats.number(1e-4), "1e-4"),
        (formats.number(0.00025), "2.5e-4"),
        (formats.number(0.2134), "0.213"),
        (formats.number(-4210.4), "\N{MINUS SIGN}4,210"),
        (formats.number(0), "0"),
        (formats.decimal(0.3), "0.300"),
        (formats.signed(1.26), "+1.3"),
        (formats.signed(-0.04), "0.0"),
        (formats.signed(-2.0), "\N{MINUS SIGN}2.0"),
        (formats.seconds(0.423).replace("\N{NO-BREAK SPACE}", " "), "0.42 s"),
        (formats.seconds(59.7).replace("\N{NO-BREAK SPACE}", " "), "1 min"),
        (formats.seconds(7512).replace("\N{NO-BREAK SPACE}", " "), "2 h 5 min"),
        (formats.percent(None), formats.MISSING),
        (formats.integer(math.nan), formats.MISSING),
        (formats.number("0.1"), formats.MISSING),
        (formats.number(True), formats.MISSING),
        (formats.fact({"a": [1, 2.5, True], "b": None}), f"a: 1, 2.5, yes, b: {formats.MISSING}"),
        (formats.shorten("abcdefghijkl", 8), "abcde…kl"),
        (formats.listing(["a"]), "a"),
        (formats.listing(["a", "b", "c"]), "a, b and c"),
        (formats.listing(["a", "b", "c", "d"], 2), "a, b and 2 more"),
    ],
)
def test_numbers_and_words_read_well(written, expected):
    assert written == expected


def test_scales_by_hand():
    straight = scales.Scale(0, 1, 200, 0)
    assert [straight(value) for value in (0, 0.25, 1)] == [200, 150, 0]
    logarithmic = scales.Scale(0.01, 1, 0, 100, logarithmic=True)
    assert [logarithmic(value) for value in (0.01, 0.1, 1)] == [0, 50, 100]
    assert scales.Scale(3, 3, 10, 20)(3) == 15


def test_ticks_by_hand():
    assert scales.linear_ticks(0.0, 1.0) == [0, 0.2, 0.4, 0.6, 0.8, 1]
    assert scales.linear_ticks(0.13, 0.27) == [0.14, 0.16, 0.18, 0.2, 0.22, 0.24, 0.26]
    assert scales.linear_ticks(2.0, 2.0) == [2]
    assert scales.logarithmic_ticks(0.01, 1.0) == [0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1]
    assert scales.logarithmic_ticks(1e-6, 1.0) == [1e-6, 1e-5, 1e-4, 1e-3, 0.01, 0.1, 1]


def test_keep_curve_by_hand():
    (chart,) = figures.draw_keep({"mask": CURVE}, accuracy=0.876, baselines={"most frequent class": 0.171})
    # The y axis runs from 10% at 236 to 90% at 16, the x axis from 10% at 68 to 100% at 398.
    top, random, _ = chart.lines
    assert [mark.x for mark in top.marks] == [68, pytest.approx(68 + 330 / 9, abs=0.01), 398]
    assert top.marks[0].y == pytest.approx(236 - 220 * (0.611 - 0.1) / 0.8, abs=0.01)
    assert random.marks[1].words == "random 20%: 51.6%"
    assert random.marks[1].whisker is None
    assert top.marks[0].whisker == tuple(
        pytest.approx(236 - 220 * (end - 0.1) / 0.8, abs=0.01) for end in (0.581, 0.633)
    )
    upper, lower = chart.band.split()[0], chart.band.split()[-1]
    assert upper == f"68,{round(236 - 220 * (0.412 + 0.0213 - 0.1) / 0.8, 2):g}"
    assert lower == f"68,{round(236 - 220 * (0.412 - 0.0213 - 0.1) / 0.8, 2):g}"
    assert [tick.label for tick in chart.x_ticks] == ["10%", "20%", "100%"]
    assert [reference.label for reference in chart.references] == ["all neurons 87.6%", "most frequent class 17.1%"]
    assert not chart.logarithmic


def test_modes_share_their_axes_and_empty_curves_are_left_out():
    low = [{"fraction": 0.01, "top": 0.05}]
    mask, retrain = figures.draw_keep({"mask": low, "retrain": CURVE, "other": []}, accuracy=None, baselines={})
    assert mask.y_ticks == retrain.y_ticks
    assert mask.x_ticks == retrain.x_ticks
    assert mask.logarithmic
    assert mask.band == ""
    assert figures.draw_keep({"mask": []}, accuracy=0.5, baselines={"most frequent class": 0.1}) == ()


def test_layer_curve_by_hand():
    trained, untrained = (
        [{"layer": f"residual {n}", "accuracy": a} for n, a in enumerate(of)] for of in ((0.4, 0.8), (0.3,))
    )
    trained[1]["interval"] = [0.7, 0.9]
    chart = draw_by_layer(trained, untrained, accuracy=0.85, baselines={"a": 0.41, "b": 0.4, "c": None})
    assert chart is not None
    # Two layers share 346 from 60 on; the y axis runs from 30% at 226 to 90% at 16.
    below, above = chart.lines
    assert (below.name, above.name) == ("random", "top")
    assert [mark.x for mark in above.marks] == [146.5, 319.5]
    assert above.marks[1].y == pytest.approx(226 - 210 * 0.5 / 0.6, abs=0.01)
    assert above.marks[1].whisker == tuple(pytest.approx(226 - 210 * part / 0.6, abs=0.01) for part in (0.4, 0.6))
    assert [mark.words for mark in below.marks] == ["residual 0, untrained: 30.0%"]
    labels = [reference.text for reference in chart.references]
    assert len(labels) == 3
    assert min(abs(one - other) for one in labels for other in labels if one != other) >= 13
    assert draw_by_layer([], untrained, accuracy=0.5, baselines={}) is None


def test_layer_bars_by_hand():
    chart = figures.draw_layers([0.5, 0.25, 0.25, 0.0], [f"residual {layer}" for layer in range(4)], centre=0.75)
    assert chart is not None
    # Four steps of 101 from 8 on; the tallest bar reaches from 176 up to 30.
    assert [bar.height for bar in chart.bars] == [146, 73, 73, 0]
    assert [tick.position for tick in chart.labels] == [58.5, 159.5, 260.5, 361.5]
    assert chart.even == 103
    assert chart.centre is not None
    assert chart.centre.position == pytest.approx(58.5 + 0.75 * 101, abs=0.01)
    both = figures.draw_layers([0.5, 0.5], ["residual 0", "mlp 0"], centre=0.5)
    assert both is not None
    assert [tick.label for tick in both.sites] == ["residual", "mlp"]
    assert both.even is None
    assert both.centre is None
    assert figures.draw_layers([], []) is None


def test_spark_by_hand():
    spark = figures.draw_spark([0.25, 0.5], width=20.0, height=10.0)
    assert spark is not None
    assert spark.path == "M0 10V5h8V10zM10 10V0h8V10z"
    assert spark.words == "25%, 50%"
    assert figures.draw_spark([]) is None


def test_search_table_by_hand():
    grid = search_grid.arrange_search(RESULTS["tasks"]["upos"]["search"])
    assert grid is not None
    assert (grid.l1, grid.l2, grid.measure) == ((0, 1e-4), (1e-5, 2e-5), "score")
    assert [[cell and cell.heat for cell in row] for row in grid.cells] == [[0.0, None], [None, 1.0]]
    by_accuracy = search_grid.arrange_search([{"l1": 0.1, "l2": 0.0, "accuracy": 0.9}])
    assert by_accuracy is not None
    assert by_accuracy.measure == "accuracy"
    assert [[cell and cell.heat for cell in row] for row in by_accuracy.cells] == [[0.5]]
    assert search_grid.arrange_search([]) is None
