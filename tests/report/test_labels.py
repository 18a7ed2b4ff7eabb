"""Labels on charts: none hides a point, a line or another label, on crowded charts and on sparse ones."""

from typing import Any

import numpy as np
import pytest

from lca_jax.report.figures import draw_keep
from lca_jax.report.labels import Box, boxes_of_line, common_areas, label_at, least_hiding, name_points
from lca_jax.report.layer_curve import draw_by_layer
from lca_jax.report.method_chart import draw_methods
from lca_jax.report.references import Reference
from lca_jax.report.scales import snug_range

FRAME = Box(60, 16, 740, 346)


def boxes_of(references: tuple[Reference, ...]) -> list[Box]:
    return [label_at(one.label, one.x, one.text, ends=one.right).box for one in references]


def hidden(boxes: list[Box], taken: list[Box]) -> float:
    between = np.triu(common_areas(boxes, boxes), k=1).sum()
    return float(between + common_areas(boxes, taken).sum())


def test_areas_by_hand() -> None:
    one, other = Box(0.0, 0.0, 10.0, 4.0), Box(8.0, 3.0, 20.0, 9.0)
    assert common_areas([one, other], [one, other, Box(10, 0, 12, 4)]).tolist() == [[40, 2, 0], [2, 72, 2]]
    assert common_areas([one], []).shape == (1, 0)
    label = label_at("abc", 10, 20, ends=True)
    assert label.box == pytest.approx((10 - 3 * 6.6, 10, 10, 23))
    assert least_hiding([label, label_at("abc", 90, 30, ends=True)], [], FRAME).x == 90
    line = boxes_of_line([(0.0, 0.0), (40.0, 0.0)], [(0.0, -9.0, 5.0)])
    assert line[:3] == [Box(-6, -6, 6, 6), Box(34, -6, 46, 6), Box(-2, -9, 2, 5)]
    covered = {x for box in line for x in range(round(box.left), round(box.right) + 1)}
    assert set(range(41)) <= covered


@pytest.mark.parametrize("count", [1, 6, 18])
def test_names_of_a_crowd_hide_nothing_and_say_where_they_belong(count: int) -> None:
    generator = np.random.default_rng(count)
    points = [(f"method_{place:02}", *generator.normal((660, 100), (40, 25)).tolist()) for place in range(count)]
    taken = boxes_of_line([points[0][1:]])[:1] + [boxes_of_line([point[1:]])[0] for point in points[1:]]
    named = name_points(points, taken, FRAME)
    boxes = [one.label.box for one in named]
    assert hidden(boxes, taken) == 0
    assert all(box.left >= FRAME.left and box.right <= FRAME.right for box in boxes)
    assert all(box.top >= FRAME.top and box.bottom <= FRAME.bottom for box in boxes)
    for (_, x, y), one in zip(points, named, strict=True):
        gap = max(one.label.box.left - x, x - one.label.box.right, one.label.box.top - y, y - one.label.box.bottom)
        assert (one.leader is None) == (gap < 10)
        if one.leader is not None:
            assert one.leader[:2] == (x, y)


def methods(points: list[tuple[float, float]], constant: float) -> dict[str, Any]:
    named = [
        {"method": f"some_method_{place}", "overlap": overlap, "accuracy": accuracy, "low": accuracy - 0.012,
         "high": accuracy + 0.012}
        for place, (overlap, accuracy) in enumerate(points)
    ]  # fmt: skip
    return {"points": named, "constant": constant, "chance_high": 0.09, "neurons": 9, "shared_neurons": 9}


CROWDED = [(0.3 + 0.01 * place, 0.9 - 0.002 * (place % 4)) for place in range(12)] + [(0.95, 0.8991), (0.97, 0.899)]


@pytest.mark.parametrize(
    ("points", "constant", "shown"),
    [
        (CROWDED, 0.17, False),
        (CROWDED, 0.895, True),
        ([(0.5, 0.6)], 0.59, True),
        ([(0.0, 0.9), (1.0, 0.9)], 0.1, False),
    ],
)
def test_the_axis_of_methods_is_theirs_and_names_hide_no_point(
    points: list[tuple[float, float]], constant: float, *, shown: bool
) -> None:
    chart = draw_methods(methods(points, constant), own="some_method_0")
    assert chart is not None
    marks = [boxes_of_line([(one.mark.x, one.mark.y)])[0] for one in chart.marks]
    names = [label_at(one.name, one.text_x, one.text_y, ends=one.left).box for one in chart.marks]
    assert hidden(names + boxes_of(chart.references), marks) == 0
    heights = [one.mark.y for one in chart.marks]
    assert max(heights) > chart.frame.top + 0.3 * (chart.frame.bottom - chart.frame.top)
    assert all(chart.frame.top <= height <= chart.frame.bottom for height in heights)
    assert [one.label for one in chart.references] == ([f"most frequent class {constant:.1%}"] if shown else [])
    assert (chart.below is None) == shown
    if chart.below is not None:
        assert chart.below.words == f"↓ most frequent class {constant:.1%}"
        assert hidden([chart.below.box, *names], marks) == 0


def test_the_ends_of_a_snug_axis_are_round_and_around_all_values() -> None:
    assert snug_range([0.833, 0.912]) == pytest.approx((0.82, 0.92))
    assert snug_range([0.9, 0.9]) == pytest.approx((0.89, 0.91))
    assert snug_range([0.0, 1.0]) == (0, 1)
    assert snug_range([1.0]) == pytest.approx((0.99, 1.0))


def test_labels_of_references_stand_where_no_curve_is() -> None:
    flat = [{"layer": f"residual {layer}", "accuracy": 0.9 - 0.01 * layer} for layer in range(7)]
    low = [{"layer": f"residual {layer}", "accuracy": 0.4 - 0.035 * layer} for layer in range(7)]
    chart = draw_by_layer(flat, low, accuracy=0.93, baselines={"most frequent class": 0.17, "word-type majority": 0.8})
    assert chart is not None
    drawn = [box for line in chart.lines for box in line.boxes()]
    assert hidden(boxes_of(chart.references), drawn) == 0
    points = [{"fraction": 0.1 * step, "top": 0.9, "random": 0.5, "bottom": 0.2 + 0.01 * step} for step in range(1, 10)]
    (kept,) = draw_keep({"mask": points}, accuracy=0.92, baselines={"most frequent class": 0.19})
    drawn = [box for line in kept.lines for box in line.boxes()]
    assert hidden(boxes_of(kept.references), drawn) == 0
