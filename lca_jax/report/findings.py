"""The findings of a run in sentences: every sentence about a result that the page and the command line can print.

A sentence is printed only where the numbers behind it are there, and says what they allow. Where the probe does not
beat its baselines, the first sentence says so, and nothing is said of neurons or layers. Whatever was chosen on dev is
said to be, beside what it comes to on test.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, TypeGuard

from lca_jax.report.formats import integer, is_number, listing, number, percent, points, share, shorten
from lca_jax.report.model_use import measurements, use_sentence
from lca_jax.report.reliability import ranked_by, reliability_sentence, size_interval

CORRELATION = (
    "All of this is correlation: that a probe reads a neuron does not show that the model uses it, which only an "
    "intervention in the model can."
)
_RIVALS = {
    "most_frequent_class": "most frequent class",
    "word_type_majority": "word-type majority",
    "control": "control task (random labels)",
}
"""The baselines by the names that the page gives them; the keys are those of `lead` in `results.json`."""


class Findings(NamedTuple):
    """The sentences about one task; an empty text where there is nothing to say."""

    verdict: str
    """Whether the probe beats its baselines, and by how much."""
    unseen: str
    """Test words that training cannot know."""
    selectivity: str
    penalty: str
    ranked_by: str
    ranking: str
    """What the masked keep curve says about the ranking."""
    reliability: str
    """How far the ranking reproduces on other sentences, where that was measured."""
    minimal: str
    """How small the minimal set is, where that was chosen, and what it costs on test."""
    layers: str
    use: str
    """Whether the model uses the first neurons, for all that was measured."""

    @property
    def lines(self) -> list[str]:
        """The sentences that say something, for the command line."""
        return [text for text in self if text]


def findings(results: Mapping[str, Any], task: str) -> Findings:
    """Writes the findings about one task.

    Args:
        results: The content of `results.json`; missing keys silence the sentences that need them.
        task: One of its tasks.
    """
    entry = results["tasks"][task]
    beaten = beats_baselines(entry)
    return Findings(
        verdict=_verdict(task, entry),
        unseen=_unseen(entry),
        selectivity=_selectivity(entry),
        penalty=_penalty(entry),
        ranked_by=ranked_by(entry) if beaten else "",
        ranking=_ranking(entry) if beaten else "",
        reliability=reliability_sentence(entry) if beaten else "",
        minimal=_minimal(results.get("model", {}), entry) if beaten else "",
        layers=_layers(entry) if beaten else "",
        use=" ".join(filter(None, map(use_sentence, measurements(entry)))) if beaten else "",
    )


def beats_baselines(entry: Mapping[str, Any]) -> bool:
    """Returns whether the probe beats everything that it was compared with; False where nothing was."""
    leads = _leads(entry)
    return bool(leads) and all(interval[0] > 0 for _, interval in leads.values())


def _leads(entry: Mapping[str, Any]) -> dict[str, tuple[float, Sequence[float]]]:
    """Returns the lead over each rival, with its interval, where both are known."""
    found = {}
    for name in _RIVALS:
        lead = _table(entry, "lead").get(name) or {}
        if is_number(lead.get("difference")) and _is_interval(lead.get("interval")):
            found[name] = (lead["difference"], lead["interval"])
    return found


def _verdict(task: str, entry: Mapping[str, Any]) -> str:
    accuracy, unit = _table(entry, "accuracy").get("test"), entry.get("unit", "word")
    if not is_number(accuracy):
        return ""
    leads = _leads(entry)
    failed = [name for name, (_, interval) in leads.items() if interval[0] <= 0]
    counted = integer(_table(entry, "words").get("test")) + " " if _table(entry, "words").get("test") else "the "
    reached = f"{percent(accuracy)} of {counted}test {unit}s{_within(_table(entry, 'accuracy_interval').get('test'))}"
    beside = _beside(entry)
    if not leads:
        return f"The probe is right on {reached}. {beside}Whether it beats baselines is not known."
    if failed:
        named = " and ".join(f"the {_RIVALS[name]} ({_difference(*leads[name], within=', ')})" for name in failed)
        return (
            f"The probe of {task} does not beat its baselines: it is right on {reached}, which is not reliably more "
            f"than {named}. {beside}So no neuron is presented as salient, and no layer: the ranking orders what a "
            "probe reads that knows no more than a baseline does."
        )
    least = min(leads, key=lambda name: leads[name][0])
    return (
        f"The probe of {task} beats its baselines: it is right on {reached}. {beside}Its smallest lead, over the "
        f"{_RIVALS[least]}, is {_difference(*leads[least])}."
    )


def _beside(entry: Mapping[str, Any]) -> str:
    """Names every baseline with its accuracy, each by its own name."""
    most, unit = _table(entry, "most_frequent_class"), entry.get("unit", "word")
    parts = []
    if is_number(most.get("accuracy")):
        named = f" ({shorten(str(most['name']), 32)})" if most.get("name") is not None else ""
        parts.append(f"the most frequent class{named} for every {unit} is right on {percent(most['accuracy'])}")
    if is_number(majority := entry.get("word_type_majority")):
        parts.append(f"the word-type majority, each type's most frequent training class, on {percent(majority)}")
    if is_number(control := entry.get("control_accuracy")):
        seeds = entry.get("control_accuracies")
        drawn = f" (mean of {integer(len(seeds))} drawings)" if seeds else ""
        parts.append(f"the same probe learns random labels of word types to {percent(control)}{drawn}")
    text = listing(parts)
    return f"{text[0].upper()}{text[1:]}. " if text else ""


def _unseen(entry: Mapping[str, Any]) -> str:
    unit, labels = entry.get("unit", "word"), _table(_table(entry, "unseen_labels"), "test")
    parts = []
    if labels:
        count, total = sum(labels.values()), _table(entry, "words").get("test")
        named = listing([f"{shorten(name, 24)} ({integer(number)})" for name, number in labels.items()])
        of = f" of {integer(total)}" if total else ""
        have = f"{unit} has" if count == 1 else f"{unit}s have"
        parts.append(
            f"{integer(count)}{of} test {have} a label that training lacks and "
            f"{'counts as an error' if count == 1 else 'count as errors'}: {named}."
        )
    unseen = _table(entry, "unseen_words")
    if unseen.get("words") and is_number(unseen.get("accuracy")):
        seen = _table(entry, "seen_words")
        beside = ""
        if seen.get("words") and is_number(seen.get("accuracy")):
            beside = (
                f", on the {integer(seen['words'])} of types that it has on {percent(seen['accuracy'])}"
                f"{_within(seen.get('interval'))}"
            )
        parts.append(
            f"On the {integer(unseen['words'])} test {unit}s of types that training lacks the probe is right on "
            f"{percent(unseen['accuracy'])}{_within(unseen.get('interval'))}{beside}."
        )
    return " ".join(parts)


def _selectivity(entry: Mapping[str, Any]) -> str:
    if entry.get("unit") == "sentence":
        return "Random labels go by word type, so sentences have none, and no selectivity."
    lead = _leads(entry).get("control")
    if lead is None:
        return ""
    difference, interval = lead
    said = f"Selectivity, the accuracy less that on random labels, is {_difference(difference, interval)}"
    if interval[0] > 0:
        return f"{said}: the accuracy is not only that of learning words by heart."
    if interval[1] < 0:
        return (
            f"{said}. It is negative: the probe learns random labels better than the task, so its accuracy does not "
            "show that the model encodes the task."
        )
    return f"{said}. The interval has zero in it, so learning words by heart may explain all of the accuracy."


def example_point(curve: Sequence[Mapping[str, Any]]) -> Mapping[str, Any] | None:
    """Returns the point at a fifth of the neurons, by which the papers report a ranking, or else the nearest one."""
    known = [point for point in curve if is_number(point.get("fraction")) and is_number(point.get("top"))]
    points = [point for point in known if 0 < point["fraction"] < 1]
    return min(points, key=lambda point: abs(point["fraction"] - 0.2), default=None)


def _penalty(entry: Mapping[str, Any]) -> str:
    edges = entry.get("search_edges") or ()
    if not edges:
        return ""
    return f"The chosen penalty lies on the edge of the grid ({'; '.join(edges)}): a better one may lie beyond."


def _ranking(entry: Mapping[str, Any]) -> str:
    point = example_point(_table(entry, "keep").get("mask") or ())
    if point is None or not is_number(point.get("random")):
        return ""
    masked = entry.get("masked_to")
    at = "" if masked is None else f" at {'their training mean' if masked == 'training mean' else masked}"
    draws = f" ({integer(entry.get('draws'))} draws)" if is_number(entry.get("draws")) else ""
    spread = point.get("random_std")
    said = (
        f"With {share(point['fraction'])} of the neurons kept and the others held{at}, the probe is right on "
        f"{percent(point['top'])} with the top of the ranking, {percent(point['random'])}"
        f"{f' ± {percent(spread)}' if is_number(spread) else ''} with random neurons{draws}"
        + (f" and {percent(point['bottom'])} with the bottom." if is_number(point.get("bottom")) else ".")
    )
    if is_number(spread) and point["top"] <= point["random"] + 2 * spread:
        return f"{said} At this size the top is not clearly above random neurons."
    return said


def _share_of_gain(minimal: Mapping[str, Any]) -> str:
    constant = minimal.get("constant_dev")
    best = f" ({percent(constant)})" if is_number(constant) else ""
    return f"{percent(1 - minimal['drop'])} of the gain of the probe of all over the best constant answer{best}"


def _minimal(model: Mapping[str, Any], entry: Mapping[str, Any]) -> str:
    minimal, total = _table(entry, "minimal"), model.get("neurons")
    if not minimal and "minimal" in entry:
        return "On dev all neurons are no better than the best constant answer, so there is no smallest set."
    if not is_number(minimal.get("neurons")) or not is_number(minimal.get("drop")):
        return ""
    if is_number(total) and minimal["neurons"] >= total:
        return f"On dev no smaller set than all {integer(total)} neurons keeps {_share_of_gain(minimal)}."
    of_all = f" ({percent(minimal['fraction'])} of all)" if is_number(minimal.get("fraction")) else ""
    said = (
        f"The first {integer(minimal['neurons'])} neurons{of_all} are the smallest set tried whose own probe keeps "
        f"{_share_of_gain(minimal)} on dev, where it was chosen{size_interval(minimal)}."
    )
    if is_number(loss := minimal.get("loss")) and is_number(minimal.get("accuracy")):
        change = "less than" if loss >= 0 else "more than"
        interval = minimal.get("loss_interval")
        ends = ""
        if _is_interval(interval):
            low, high = interval if loss >= 0 else (-interval[1], -interval[0])
            ends = f" (95% interval {_signed_points(low)} to {_signed_points(high)})"
        said += (
            f" On test it is right on {percent(minimal['accuracy'])}, {points(abs(loss))} {change} the probe of "
            f"all{ends}."
        )
    return said


def _layers(entry: Mapping[str, Any]) -> str:
    shares, names = entry.get("layers") or (), entry.get("layer_names") or ()
    parts = []
    if shares and len(shares) == len(names) and all(is_number(value) for value in shares) and max(shares) > 0:
        most = max(range(len(shares)), key=lambda layer: shares[layer])
        sites = {name.rpartition(" ")[0] for name in names}
        around = ""
        if len(sites) == 1 and is_number(centre := entry.get("centre_of_mass")):
            around = f"lie around layer {centre:.1f} and "
        parts.append(f"These neurons {around}have their largest share ({percent(shares[most], 0)}) in {names[most]}.")
    counts = {
        name: row["neurons"]
        for name, row in _table(entry, "per_class").items()
        if is_number(row.get("neurons")) and row.get("words")
    }
    if len(counts) > 1:
        widest = max(counts, key=lambda name: counts[name])
        narrowest = min(counts, key=lambda name: counts[name])
        if counts[widest] > counts[narrowest]:
            parts.append(
                f"The weights of {shorten(widest, 24)} take most of them ({integer(counts[widest])}), those of "
                f"{shorten(narrowest, 24)} fewest ({integer(counts[narrowest])})."
            )
    factor = _table(entry, "sharing").get("factor")
    if is_number(factor) and factor > 0:
        parts.append(f"A neuron with weight for any class has it for {number(factor)} classes on average.")
    return " ".join(parts)


def _table(entry: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    """Returns the table of a key; an empty one where it is missing or null."""
    value = entry.get(key)
    return value if isinstance(value, Mapping) else {}


def _is_interval(value: object) -> TypeGuard[Sequence[float]]:
    return isinstance(value, Sequence) and len(value) == 2 and all(is_number(end) for end in value)


def _within(interval: Any) -> str:
    if not _is_interval(interval):
        return ""
    return f" (95% interval {percent(interval[0])} to {percent(interval[1])})"


def _difference(difference: float, interval: Sequence[float], *, within: str = "") -> str:
    """Writes a difference with its interval, in parentheses, or after `within` where it stands in some already."""
    low, high = (_signed_points(end) for end in interval)
    ends = f"95% interval {low} to {high}"
    return f"{_signed_points(difference)} points" + (f"{within}{ends}" if within else f" ({ends})")


def _signed_points(value: float) -> str:
    rounded = round(100 * value, 1)
    return f"{rounded:+.1f}".replace("-", "\N{MINUS SIGN}") if rounded else "0.0"
