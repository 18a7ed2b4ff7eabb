"""The chart of reliability and validity: where points and names lie."""

from typing import Any

from lca_jax.report.method_chart import draw_methods
from lca_jax.report.page import render_report
from tests.report.results import beaten, good

METHODS: dict[str, Any] = {
    "readout": "linear",
    "shared_neurons": 134,
    "neurons": 134,
    "chance": 0.05,
    "chance_high": 0.09,
    "constant": 0.17,
    "points": [
        {"method": "bagged", "overlap": 0.72, "accuracy": 0.9, "low": 0.89, "high": 0.91},
        {"method": "lca", "overlap": 0.31, "accuracy": 0.899, "low": 0.885, "high": 0.912},
        {"method": "average_precision", "overlap": 0.97, "accuracy": 0.84, "low": 0.82, "high": 0.86},
        {"method": "mean_weight", "overlap": 0.33, "accuracy": 0.8985, "low": 0.88, "high": 0.91},
        {"method": "random", "overlap": 0.05, "accuracy": 0.8},
        {"method": "broken", "overlap": None, "accuracy": 0.8},
    ],
}


def test_points_lie_where_their_figures_are_and_no_name_hides_another() -> None:
    chart = draw_methods(METHODS, own="bagged")
    assert chart is not None
    marks = {one.name: one for one in chart.marks}
    assert set(marks) == {"bagged", "lca", "average_precision", "mean_weight", "random"}
    assert [one.name for one in chart.marks if one.own] == ["bagged"]
    frame = chart.frame
    for point in METHODS["points"][:5]:
        mark = marks[point["method"]].mark
        assert abs((mark.x - frame.left) / (frame.right - frame.left) - point["overlap"]) < 1e-4
        others = [other for other in METHODS["points"][:5] if other["accuracy"] > point["accuracy"]]
        assert all(marks[other["method"]].mark.y < mark.y for other in others)
    assert marks["random"].mark.whisker is None
    whisker = marks["lca"].mark.whisker
    assert whisker is not None
    high, low = whisker
    assert high < marks["lca"].mark.y < low or low < marks["lca"].mark.y < high
    assert marks["average_precision"].left  # to the right there is no room
    boxes = [
        (one.text_x - 6.6 * len(one.name) * one.left, one.text_x + 6.6 * len(one.name) * (not one.left), one.text_y)
        for one in chart.marks
    ]
    for place, (start, end, line) in enumerate(boxes):
        for other_start, other_end, other_line in boxes[:place]:
            assert end <= other_start or other_end <= start or abs(line - other_line) >= 13.9
    assert chart.chance[0] == frame.left < chart.chance[1] < marks["lca"].mark.x
    assert draw_methods({}, own="bagged") is draw_methods({"points": []}, own=None) is None


def test_the_page_has_the_figure_and_its_numbers_where_methods_were_measured() -> None:
    results = good()
    results["tasks"]["upos"] |= {"methods": METHODS, "ranking": "bagged"}
    page = render_report(results, {})
    for text in ("Which rankings reproduce", "average_precision: overlap 97.0%, accuracy 84.0%", "88.5% to 91.2%"):
        assert text in page, text
    none_found = beaten()
    none_found["tasks"]["upos"]["methods"] = METHODS
    for other in (good(), none_found):
        assert "Which rankings reproduce" not in render_report(other, {})
