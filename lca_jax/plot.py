"""Figures of results, drawn with matplotlib (extra `plots`): curves, layers, methods, a neuron in a text.

Every function takes a result and returns a `matplotlib.figure.Figure`, which a notebook shows and `savefig` writes. No
global state is touched: no style is set, no window opens.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from lca_jax.analysis.consensus import MethodOverlap
from lca_jax.analysis.curves import KeepCurve
from lca_jax.analysis.reliability_validity import ReliabilityAndValidity
from lca_jax.analysis.similarity import LayerSimilarity
from lca_jax.analysis.validity import ValidityCurve
from lca_jax.axes import Neuron
from lca_jax.descriptors.histograms import ClassHistograms
from lca_jax.descriptors.neuron_text import colour, neuron_text
from lca_jax.errors import MissingExtraError, SettingsError
from lca_jax.interventions.effect import AblationCurve
from lca_jax.ranking.ranking import Ranking
from lca_jax.report.figure_names import Place, name_places
from lca_jax.store.store import ActivationStore

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_WIDTH, _HEIGHT = 6.4, 4.0
"""Inches of a figure."""
_STRAIGHT = 6
"""Number of layers whose names fit under the bars without being turned."""
_LINE = 90
"""Characters in a line of a drawn sentence."""


def keep_curve(curve: KeepCurve) -> "Figure":
    """Draws accuracy against the share of neurons kept.

    The best neurons have their 95 % interval over sentences, the random ones one standard deviation over the sets.

    Args:
        curve: From `lca_jax.keep_curve`.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    figure, axes = _figure()
    points = curve.points
    shares = [100 * point.fraction for point in points]
    axes.axhline(curve.whole, color="0.4", linewidth=1, linestyle=":", label="all neurons")
    top = [(point.top, point.top_low, point.top_high) for point in points]
    _draw_band(axes, shares, top, marker="o", label="best (95 % interval)")
    random = [(point.random, point.random - point.random_std, point.random + point.random_std) for point in points]
    _draw_band(axes, shares, random, marker="s", label=f"random ({curve.draws} sets, ± 1 SD)")
    axes.plot(shares, [point.bottom for point in points], marker="^", label="worst")
    axes.set(xlabel="neurons kept (%)", ylabel="accuracy", title=f"{curve.task}, {_MODES[curve.mode]}")
    axes.legend()
    return figure


def validity_curve(curve: ValidityCurve) -> "Figure":
    """Draws accuracy against the number of neurons kept or removed.

    The first neurons have their 95 % interval over sentences, the random ones that of one more random set.

    Args:
        curve: From `lca_jax.validity_curve`.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    figure, axes = _figure()
    points = curve.points
    sizes = [point.neurons for point in points]
    axes.axhline(curve.whole, color="0.4", linewidth=1, linestyle=":", label="all neurons")
    axes.axhline(curve.constant, color="0.4", linewidth=1, linestyle="--", label="most frequent class")
    top = [(point.top, point.top_low, point.top_high) for point in points]
    _draw_band(axes, sizes, top, marker="o", label="first (95 % interval)")
    random = [(point.random, point.random_low, point.random_high) for point in points]
    _draw_band(axes, sizes, random, marker="s", label=f"random ({curve.draws} sets)")
    bottom = [np.nan if point.bottom is None else point.bottom for point in points]
    axes.plot(sizes, bottom, marker="^", label="last with weight")
    axes.set_xscale("log")
    done = "removed" if curve.removed else "kept"
    axes.set(xlabel=f"neurons {done}", ylabel="accuracy", title=f"{curve.task}, {curve.readout}, {curve.mode}")
    axes.legend()
    return figure


def ablation_curve(curve: AblationCurve) -> "Figure":
    """Draws the score of a model against the number of neurons removed, one panel a fill.

    Bands are 95 % intervals over sentences, and over the draws where sets are random. Scores that rise with the damage
    are drawn on a logarithmic axis. `curve.layer_table()` has the layers of the sets: compare sets of equal depth.

    Args:
        curve: From `lca_jax.ablation_curve`.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    fills = list(dict.fromkeys(point.fill for point in curve.points))
    figure, first = _figure(width=_WIDTH * (0.4 + 0.6 * len(fills)), panels=len(fills))
    for number, fill in enumerate(fills):
        axes = figure.axes[number]
        axes.axhline(curve.whole, color="0.4", linewidth=1, linestyle=":", label="the model as it is")
        points = [point for point in curve.points if point.fill == fill]
        for place, (ranking, of) in enumerate(dict.fromkeys((point.ranking, point.set) for point in points)):
            line = [point for point in points if (point.ranking, point.set) == (ranking, of)]
            values = [(point.value, point.low, point.high) for point in line]
            label = of if of == "random" else f"{ranking}, {of}"
            _draw_band(axes, [point.last for point in line], values, marker="os^vDP*X"[place % 8], label=label)
        if curve.lost == "log":
            axes.set_yscale("log")
        axes.set(xlabel="neurons removed", title=f"set to {fill}")
    first.set_ylabel(curve.measure)
    first.legend(fontsize=8)
    return figure


def method_overlap(found: MethodOverlap) -> "Figure":
    """Draws the overlap of every pair of methods as a heat-map, each cell with its number.

    Args:
        found: From `lca_jax.method_overlap`.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    side = 1.6 + 0.7 * len(found.methods)
    figure, axes = _figure(height=side, width=side + 0.8)
    axes.imshow(found.pairwise, vmin=0, vmax=1, cmap="Blues")
    for (row, column), value in np.ndenumerate(found.pairwise):
        axes.text(column, row, f"{value:.2f}", ha="center", va="center", color="w" if value > 0.6 else "k")
    places = range(len(found.methods))
    axes.set_xticks(places, found.methods, rotation=45, ha="right")
    axes.set_yticks(places, found.methods)
    axes.set_title(f"{found.task}: overlap of the first {found.neurons} (random {found.chance:.2f})", fontsize=10)
    return figure


def reliability_and_validity(found: ReliabilityAndValidity) -> "Figure":
    """Draws one point a method: overlap of two halves to the right, accuracy of probes of its first neurons upwards.

    The shaded part has the overlaps of random orders, up to the one that they exceed with a probability of 2.5 %.

    Args:
        found: From `lca_jax.reliability_and_validity`.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    figure, axes = _figure(height=1.3 * _HEIGHT, width=1.25 * _WIDTH)
    axes.axvspan(0, found.chance_high, color="0.9", label="random orders (97.5 %)")
    axes.axhline(found.constant, color="0.4", linewidth=1, linestyle="--", label="most frequent class")
    for point in found.points:
        below, above = max(0.0, point.accuracy - point.low), max(0.0, point.high - point.accuracy)
        axes.errorbar(point.overlap, point.accuracy, yerr=[[below], [above]], marker="o", capsize=3, linestyle="")
    axes.set_xlim(0, 1.08)
    axes.set(
        xlabel=f"overlap of the first {found.shared_neurons} neurons of two halves",
        ylabel=f"accuracy of probes of the first {found.neurons}",
        title=f"{found.task}: reliability and validity ({found.readout})",
    )
    axes.legend()
    name_places(axes, [Place(one.method, one.overlap, one.accuracy, one.low, one.high) for one in found.points])
    return figure


def layers(ranking: Ranking, *, count: int = 100) -> "Figure":
    """Draws how many of the first neurons of a ranking lie in each layer.

    Args:
        ranking: The ranking.
        count: Number of leading neurons, at most all.

    Raises:
        SettingsError: `count` is less than 1 or more than the ranking has.
        MissingExtraError: matplotlib is not installed.
    """
    if not 1 <= count <= len(ranking.columns):
        raise SettingsError(f"`count` must be in 1 to {len(ranking.columns)}, got {count}.")
    figure, axes = _figure()
    names = ranking.axis.layer_names
    blocks = ranking.axis.block_of_column[ranking.columns[:count]]
    axes.bar(range(len(names)), np.bincount(blocks, minlength=len(names)))
    slant = {"rotation": 45, "ha": "right"} if len(names) > _STRAIGHT else {}
    axes.set_xticks(range(len(names)), names, **slant)
    axes.set(ylabel=f"neurons of the first {count:,}", title=ranking.task)
    return figure


def class_histograms(found: ClassHistograms, neuron: Neuron | tuple[str, int, int]) -> "Figure":
    """Draws a neuron's activations class by class, one panel each on one axis, as shares of the class's words.

    Args:
        found: From `lca_jax.class_histograms`.
        neuron: One of its neurons.

    Raises:
        SettingsError: The neuron was not counted.
        MissingExtraError: matplotlib is not installed.
    """
    edges, counts = found.edges[found.place(neuron)], found.of(neuron)
    height = 0.9 + 0.55 * len(counts)
    figure, _ = _figure(height=height, width=_WIDTH, rows=len(counts))
    for axes, (name, of_class) in zip(figure.axes, counts.items(), strict=True):
        axes.stairs(of_class / max(1, of_class.sum()), edges, fill=True, color="0.4")
        axes.set_yticks([])
        axes.set_ylabel(f"{name}\n{of_class.sum():,}", rotation=0, ha="right", va="center", fontsize=8)
    figure.axes[0].set_title(f"neuron {Neuron(*neuron)} by {found.task}, with the number of words", fontsize=10)
    figure.axes[-1].set_xlabel("activation; the outermost bins have all words beyond")
    return figure


def layer_similarity(found: LayerSimilarity) -> "Figure":
    """Draws how alike the layers of two models are, each number in its square.

    Args:
        found: From `lca_jax.layer_similarity`.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    rows, columns = found.values.shape
    figure, axes = _figure(height=1.6 + 0.4 * rows, width=2.2 + 0.5 * columns)
    axes.imshow(found.values, cmap="Blues", vmin=0, vmax=1, aspect="auto")
    for (row, column), value in np.ndenumerate(found.values):
        colour_of_text = "white" if value > 0.6 else "black"
        axes.text(column, row, f"{value:.2f}", ha="center", va="center", fontsize=8, color=colour_of_text)
    axes.set_yticks(range(rows), found.axes[0].layer_names)
    axes.set_xticks(range(columns), found.axes[1].layer_names, rotation=45, ha="right")
    axes.set(ylabel=found.names[0], xlabel=found.names[1])
    axes.set_title(f"{found.measure}; at most {found.chance.max():.2g} for shuffled words", fontsize=9)
    return figure


def neuron(
    store: ActivationStore,
    neuron: Neuron | tuple[str, int, int],
    sentence: int,
    *,
    reference: ActivationStore | None = None,
) -> "Figure":
    """Draws what `lca_jax.neuron_text` reads, with its arguments and errors: every word on a coloured ground.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    text = neuron_text(store, neuron, sentence, reference=reference)
    lines: list[list[tuple[str, float | None]]] = [[]]
    for word, value in zip(text.words, text.values, strict=True):
        if sum(len(other) + 2 for other, _ in lines[-1]) + len(word) > _LINE and lines[-1]:
            lines.append([])
        lines[-1].append((word, value))
    figure, axes = _figure(height=0.6 + 0.35 * len(lines), width=9.0)
    axes.set_axis_off()
    for row, line in enumerate(lines):
        place = 0.0
        for word, value in line:
            axes.text(
                place / _LINE,
                1 - (row + 1) / (len(lines) + 1),
                word,
                transform=axes.transAxes,
                family="monospace",
                fontsize=9,
                va="center",
                bbox={"facecolor": colour(value), "edgecolor": "none", "pad": 2.0},
            )
            place += len(word) + 2
    axes.set_title(f"neuron {text.neuron}, orange above its mean, blue below", fontsize=9, loc="left")
    return figure


_MODES = {"mask": "the other neurons masked", "retrain": "probes trained on the kept neurons"}


def _draw_band(
    axes: Any, places: Sequence[int | float], values: Sequence[tuple[float, float, float]], *, marker: str, label: str
) -> None:
    """Draws a line with a band around it, by (value, low, high) at each place."""
    middle, low, high = zip(*values, strict=True)
    (line,) = axes.plot(places, middle, marker=marker, label=label)
    axes.fill_between(places, low, high, color=line.get_color(), alpha=0.2, linewidth=0)


def _figure(*, height: float = _HEIGHT, width: float = _WIDTH, panels: int = 1, rows: int = 1) -> tuple["Figure", Any]:
    """Returns a figure and its first panel; panels in a row share one axis, as those in a column do."""
    try:
        from matplotlib.figure import Figure
    except ModuleNotFoundError:
        raise MissingExtraError("matplotlib", "plots", "Drawing figures") from None
    figure = Figure(figsize=(width, height), layout="constrained")
    return figure, figure.subplots(rows, panels, sharey="row", sharex="col" if rows > 1 else False, squeeze=False)[0, 0]
