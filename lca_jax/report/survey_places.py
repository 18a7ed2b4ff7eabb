"""What the page of a survey says of classes, of several tasks and of redundancy, with chance and uncertainty."""

from collections.abc import Mapping, Sequence
from typing import Any

from lca_jax.report.formats import integer, listing, number, percent


def contrast_sentence(cells: Mapping[str, Mapping[str, Any]]) -> str:
    """Compares open with closed classes; empty where a task has none of either.

    Args:
        cells: The entry of the task, by model or corpus.
    """
    found = {
        name: entry["localisation"]["open_and_closed"]
        for name, entry in cells.items()
        if entry["beats_baselines"] and entry["localisation"]["open_and_closed"]
    }
    if not found:
        return ""
    counts = _sides({name: of["more_neurons"] for name, of in found.items()}, ("more neurons", "fewer neurons"))
    depths = _sides({name: of["deeper"] for name, of in found.items() if of["deeper"]}, ("deeper", "shallower"))
    told = [f"Beside closed classes (determiners, prepositions, …), open ones (nouns, verbs, …) have {counts}"]
    if depths:
        told.append(f"their neurons lie {depths}")
    if len(found) == 1:
        (of,) = found.values()
        told[0] += f": {_value(of['open']['neurons'])} and {_value(of['closed']['neurons'])} a class, in the mean"
        if of["deeper"]:
            depth_of_kinds = (number(of[kind]["depth"][0], 2) for kind in ("open", "closed"))
            told[-1] += f", at a mean depth of {' and '.join(depth_of_kinds)}"
    return "; ".join(told) + " (95% intervals from half-samples)."


def tasks_sentences(shared: Mapping[str, Mapping[str, Any] | None], at: float) -> list[str]:
    """Says which tasks share neurons, beside chance and the noise ceiling.

    Args:
        shared: The entry `tasks_shared` of every cell, by its name.
        at: Share of the neurons.
    """
    lines = []
    for name, found in shared.items():
        pairs = [pair for pair in (found or {"pairs": []})["pairs"] if pair["share"] == at]
        lines += [
            f"{name}: {' and '.join(pair['pair'])} share {percent(pair['overlap_of_halves'])} of their first "
            f"{integer(pair['neurons'])} neurons, {pair['verdict']} (ceiling {percent(pair['ceiling'])}, random "
            f"sets of the same layers {percent(pair['chance_of_layers'])})."
            for pair in pairs
        ]
    return lines


def redundancy_lines(entry: Mapping[str, Any]) -> list[str]:
    """Says what could be spared of a run's neurons; the first line is the answer."""
    lines = [line for task, found in entry["tasks"].items() for line in _task_lines(task, found)]
    clusters, layers = entry["clusters"], entry["layers"]
    lines.append(
        f"{integer(clusters['neurons'])} neurons are {integer(clusters['clusters'])} clusters whose neurons correlate "
        f"by {clusters['threshold']:g} or more in the mean."
    )
    near = _neighbours(layers["cka"]["values"])
    if near:
        lines.append(
            f"Neighbouring layers have a CKA of {number(min(near), 2)} to {number(max(near), 2)}; the first and the "
            f"last {number(layers['cka']['values'][0][-1], 2)}; shuffled words at most "
            f"{number(max(map(max, layers['cka']['chance'])), 2)}."
        )
    if not entry["tasks"]:
        lines.insert(0, "No task has a smallest set, so nothing is said of what could be spared.")
    return lines


def _task_lines(task: str, found: Mapping[str, Any]) -> list[str]:
    spare, layers, one = found["disjoint_sets"], found["lower_layers"], found["one_a_cluster"]
    count = len(spare["neurons"])
    sizes = ", ".join(integer(size) for size in spare["neurons"])
    more = "no more were found" if spare["is_all"] else "the search ended there"
    verdict = (
        f"{integer(count)} disjoint sets of neurons each do {task} (at least {percent(found['least'])} on dev, "
        f"{percent(found['accuracy'])} with all): {sizes} neurons; {more}"
        if count > 1
        else f"One set of {sizes} neurons does {task}, and no other without a neuron of it was found"
        if count
        else f"No leading part of the ranking does {task}"
    )
    return [
        f"{verdict}. Of {integer(spare['random_sets'])} random sets of the size of the first, "
        f"{integer(spare['random_enough'])} do.",
        f"The lowest {integer(layers['enough'])} of {integer(len(layers['names']))} layers together are enough for "
        f"{task}. One neuron of each cluster ({integer(one['neurons'])}) reaches {percent(one['accuracy'])}, "
        f"{'enough' if one['enough'] else 'not enough'}.",
    ]


def _neighbours(values: Sequence[Sequence[float]]) -> list[float]:
    return [row[place + 1] for place, row in enumerate(values[:-1])]


def _sides(intervals: Mapping[str, Sequence[float]], words: tuple[str, str]) -> str:
    """Says in which cells an interval is above, below or around zero."""
    above = [name for name, (_, low, _) in intervals.items() if low > 0]
    below = [name for name, (_, _, high) in intervals.items() if high < 0]
    rest = [name for name in intervals if name not in (*above, *below)]
    sides = (
        (f"clearly {words[0]}", above),
        (f"clearly {words[1]}", below),
        (f"not clearly {' or '.join(words)}", rest),
    )
    return ", ".join(f"{word} in {listing(names, 9)}" for word, names in sides if names)


def _value(interval: Sequence[float]) -> str:
    value, low, high = interval
    return f"{number(value, 3)} ({number(low, 3)} to {number(high, 3)})"
