"""What the page of a survey says of its numbers, in sentences: each with its uncertainty, its chance and its limits."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from lca_jax.report.formats import integer, is_number, listing, number, percent, share, signed

_PROBES = "Which neurons a probe reads is a correlation: it does not show that the model uses them."
_VOCABULARY = (
    "Two halves of one language have word forms in common that two languages have not, so a part of what languages do "
    "not share is vocabulary. That no difference was found is no proof that there is none: more sentences might show "
    "one."
)
_LEVEL = 0.05


class Told(NamedTuple):
    """The sentences of one model and task, or of one corpus and task."""

    verdict: str
    lines: tuple[str, ...]


def caveat(questions: Sequence[str]) -> str:
    """Says what the answers to the questions do not show."""
    return f"{_PROBES} {_VOCABULARY}" if "languages" in questions else _PROBES


def told_of_languages(entry: Mapping[str, Any], *, model: str, task: str, at: float) -> Told:
    """Says whether languages share neurons.

    Args:
        entry: The entry of the task in `languages` of `results.json`.
        model: Name of the model.
        task: Name of the task.
        at: Share of the neurons of which it is told.
    """
    compared, left_out = entry["compared"], entry["left_out"]
    excluded = (
        f"Left out, since no neurons are presented of a probe that does not beat its baselines: {listing(left_out, 9)}."
        if left_out
        else ""
    )
    if len(compared) < 2:
        return Told(f"Nothing was found for {task} in {model}: fewer than two languages can be compared.", (excluded,))
    neurons = entry["sharing"]["neurons"]
    pairs = _at(neurons, at)
    lines = [
        _halves_sentence(pairs, "neurons"),
        _unreliable_sentence(pairs),
        _groups_sentence(entry["sharing"].get("groups"), at),
        _all_sentence(neurons, at, len(compared)),
        _transfer_sentence(entry["transfer"]),
        excluded,
    ]
    return Told(_sharing_verdict(pairs, model, task), tuple(line for line in lines if line))


def specific_sentence(specific: Mapping[str, Any] | None) -> str:
    """Says how many neurons are specific to languages, whatever the task."""
    if not specific or not specific["neurons"]:
        return "No neuron is active often enough in any language to be specific to one."
    by = ", ".join(f"{name} {integer(entry['neurons'])}" for name, entry in specific["languages"].items())
    shuffled = (
        f"LAPE takes the {integer(specific['neurons'])} of {integer(specific['of'])} neurons with the lowest entropy "
        "over languages; where the languages of the sentences are shuffled, "
        f"{number(specific['expected'])} have one as low (p = {number(specific['p'], 2)})"
    )
    if specific["p"] >= _LEVEL:
        return f"No language-specific neurons were found. {shuffled}."
    return f"{shuffled}: they are specific to languages ({by}; a neuron may be of several)."


def told_of_models(cells: Mapping[str, Mapping[str, Any]], *, corpus: str, task: str, at: float) -> Told:
    """Says how models differ on one corpus and task.

    Args:
        cells: The entry of the task, by model.
        corpus: Name of the corpus.
        task: Name of the task.
        at: Share of the neurons whose depth is told.
    """
    good = {name: entry for name, entry in cells.items() if entry["beats_baselines"]}
    failed = [name for name in cells if name not in good]
    if not good:
        return Told(f"No model beats its baselines for {task} on {corpus}, so nothing is said of neurons.", ())
    by_accuracy = sorted(good, key=lambda name: -good[name]["accuracy"]["test"])
    best = by_accuracy[0]
    apart = [name for name in by_accuracy[1:] if _low(good[best]) > good[name]["accuracy_interval"]["test"][1]]
    verdict = f"For {task} on {corpus} {best} is the most accurate, {percent(good[best]['accuracy']['test'])}"
    if len(good) == 1:
        verdict = f"For {task} on {corpus} {best} alone beats its baselines, {percent(good[best]['accuracy']['test'])}."
    elif apart:
        verdict += f"; its interval lies above that of {listing(apart, 9)}."
    else:
        verdict += ", but its interval overlaps with those of all others: no difference was found."
    lines = [_sizes_sentence(good), _depths_sentence(good, at)]
    if failed:
        lines.append(f"Left out, since their probes do not beat their baselines: {listing(failed, 9)}.")
    return Told(verdict, tuple(line for line in lines if line))


def _sharing_verdict(pairs: Sequence[Mapping[str, Any]], model: str, task: str) -> str:
    count = len(pairs)
    beyond = [pair for pair in pairs if pair["verdict"] != "no more than chance"]
    less = [pair for pair in pairs if pair["verdict"] == "less than reliability allows"]
    of_all = "The one pair of languages" if count == 1 else f"{_of(len(beyond), count)} of languages"
    if not beyond:
        return f"No pair of languages was found to share more neurons for {task} in {model} than chance."
    shared = f"{of_all} share{'s' if len(beyond) == 1 else ''} more neurons for {task} in {model} than chance"
    if len(less) == len(beyond):
        return f"{shared}, but fewer than the reliability of {'its' if count == 1 else 'their'} rankings allows."
    if not less:
        return f"{shared}, and no fewer than the reliability of the rankings allows, as far as these words tell."
    return (
        f"{shared}; {len(less)} of these {len(beyond)} share fewer than the reliability of their rankings "
        "allows, the others as many, as far as these words tell."
    )


def _halves_sentence(pairs: Sequence[Mapping[str, Any]], what: str) -> str:
    first, below = pairs[0], [pair["shortfall"] for pair in pairs]
    reach = first["shortfall_interval"][1] - first["shortfall"]
    chances = {percent(pair["chance_of_layers"]) for pair in pairs}
    of_layers = (
        ""
        if chances == {percent(first["chance"])}
        else f", and {_mean_and_ends([pair['chance_of_layers'] for pair in pairs])} if they are of the same layers"
    )
    return (
        f"Of the first {integer(first['neurons'])} {what} ({share(first['share'])}), probes of two languages share "
        f"{_mean_and_ends([pair['overlap_of_halves'] for pair in pairs])}; two probes of one language "
        f"{_mean_and_ends([pair['ceiling'] for pair in pairs])}, which is the ceiling; random sets "
        f"{percent(first['chance'])}{of_layers}. Every probe is of half of the sentences, and no two have one in "
        f"common. A pair shares {_points(sum(below) / len(below))} points less than its ceiling, in the mean; the 95% "
        f"interval of one pair is {_points(reach)} points to either side."
    )


def _unreliable_sentence(pairs: Sequence[Mapping[str, Any]]) -> str:
    """Warns of pairs whose ceiling is so low that sharing and not sharing look alike."""
    reach = pairs[0]["shortfall_interval"][1] - pairs[0]["shortfall"]
    low = [" and ".join(pair["pair"]) for pair in pairs if pair["ceiling"] - pair["chance_of_layers"] <= reach]
    if not low:
        return ""
    return f"The ceiling itself is not clearly above chance, so nothing can be told, for {listing(low, 9)}."


def _groups_sentence(groups: Mapping[str, Any] | None, at: float) -> str:
    if not groups:
        return ""
    pairs = _at(groups, at)
    count = Counter(pair["verdict"] for pair in pairs)
    told = "; ".join(f"{integer(number_of)} {verdict}" for verdict, number_of in sorted(count.items()))
    return (
        "Neurons of one index in all layers are near copies; as groups they count as one. "
        f"{_halves_sentence(pairs, 'groups')} Pairs: {told}."
    )


def _all_sentence(entry: Mapping[str, Any], at: float, languages: int) -> str:
    (row,) = [row for row in entry["by_all"] if row["share"] == at]
    expected = number(row["expected"], 2) if row["expected"] >= 0.01 else "fewer than 0.01"
    return (
        f"{integer(row['neurons'])} neurons are among the first {integer(row['of'])} of all {integer(languages)} "
        f"languages; {expected} are expected of random sets"
        + (" (p < 0.001)." if row["p"] < 0.001 else f" (p = {number(row['p'], 2)}).")
    )


def _transfer_sentence(transfer: Sequence[Mapping[str, Any]] | None) -> str:
    across = [one for one in transfer or () if one["source"] != one["target"]]
    own = [one["accuracy"] for one in transfer or () if one["source"] == one["target"]]
    if not across:
        return ""
    new = [one["new_forms_accuracy"] for one in across if one["new_forms_accuracy"] is not None]
    of_new = f", {_mean_and_ends(new)} on words whose form it has not seen" if new else ""
    better = sum(one["lead_interval"][0] > 0 for one in across)
    lost = sum(one["lost_interval"][0] > 0 for one in across)
    beat = _of(better, len(across), noun=False)
    return (
        f"A probe of one language reads another with an accuracy of {_mean_and_ends([o['accuracy'] for o in across])}"
        f"{of_new}, and of {_mean_and_ends([o['own_scale'] for o in across])} with mean and deviation of that "
        f"language; their own probes reach {_mean_and_ends(own, 'languages')}. {beat} transfers beat their baselines, "
        f"and {_of(lost, len(across), noun=False).lower()} are worse than the language's own probe (95% intervals over "
        "sentences). The baselines are the most frequent class of either language, and the most frequent label that "
        "each form has in the first."
    )


def _sizes_sentence(good: Mapping[str, Mapping[str, Any]]) -> str:
    sizes = {name: entry["minimal"] for name, entry in good.items() if entry["minimal"]}
    if not sizes:
        return ""
    told = ", ".join(
        f"{name} {integer(one['neurons'])} ({percent(one['fraction'])} of its neurons{_ends(one)})"
        for name, one in sizes.items()
    )
    return f"The smallest sets that keep the gain: {told}. Layers and widths differ, so shares compare, counts do not."


def _depths_sentence(good: Mapping[str, Mapping[str, Any]], at: float) -> str:
    told = []
    for name, entry in good.items():
        depth = entry["depth"]
        low, high = depth["interval"]
        side = "shallower" if high < depth["expected"] else "deeper" if low > depth["expected"] else "no other"
        told.append(
            f"{name} {number(depth['mean'], 2)} ({number(low, 2)} to {number(high, 2)}), {side} than "
            f"random neurons ({number(depth['expected'], 2)})"
        )
    return f"Mean depth of the first {share(at)} of the neurons, 0 for the first layer and 1 for the last: " + (
        "; ".join(told) + "."
    )


def _ends(minimal: Mapping[str, Any]) -> str:
    low, high = minimal["neurons_interval"]
    if not is_number(low):
        return ""
    return f"; {integer(low)} to {integer(high) if is_number(high) else 'more than were tried'} over dev sentences"


def _low(entry: Mapping[str, Any]) -> float:
    return entry["accuracy_interval"]["test"][0]


def _at(entry: Mapping[str, Any], at: float) -> list[Mapping[str, Any]]:
    return [pair for pair in entry["pairs"] if pair["share"] == at]


def _of(some: int, every: int, *, noun: bool = True) -> str:
    pairs = " pairs" if noun else ""
    return f"All {every}{pairs}" if some == every else f"{some or 'None'} of {every}{pairs}"


def _points(difference: float) -> str:
    return signed(100 * difference).lstrip("+")


def _mean_and_ends(values: Sequence[float], of: str = "pairs") -> str:
    mean = sum(values) / len(values)
    if len(values) == 1:
        return percent(mean)
    return f"{percent(mean)} in the mean of the {of} ({percent(min(values))} to {percent(max(values))})"
