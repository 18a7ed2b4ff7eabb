"""What a run says of its ranking: by what it ranks, how far that reproduces, and the rows of a table."""

from collections.abc import Mapping, Sequence
from typing import Any

from lca_jax.report.formats import integer, is_number, number, percent, share

_EXAMPLE = 0.05
"""Share of the neurons of which the sentence tells the overlap."""


def ranked_by(entry: Mapping[str, Any]) -> str:
    """Names the ranking of a task in a sentence; empty if it is not known."""
    halves = (entry.get("reliability") or {}).get("replicates")
    if entry.get("ranking") == "bagged" and is_number(halves):
        l2 = (entry.get("determined_by") or {}).get("replicates_least_l2")
        strong = f" (l2 of at least {number(l2)})" if is_number(l2) and l2 else ""
        return (
            f"Neurons are ranked by the mean magnitude of their weights over all classes and {integer(halves)} "
            f"half-samples of the training sentences{strong}, near copies further down (bagged)."
        )
    if entry.get("ranking") == "mass":
        return "Neurons are ranked by the weight mass of one probe, as the papers publish it (mass)."
    return ""


def overlap_rows(entry: Mapping[str, Any]) -> Sequence[Mapping[str, Any]]:
    """Returns the sizes of which the overlap of halves is known; none where `replicates` did not ask for it."""
    reliability = entry.get("reliability") or {}
    return [
        row
        for row in reliability.get("overlap") or ()
        if all(is_number(row.get(name)) for name in ("share", "neurons", "overlap", "chance"))
    ]


def reliability_sentence(entry: Mapping[str, Any]) -> str:
    """Says how many of its first neurons a ranking shares with that of other sentences; empty if it is not known."""
    rows, reliability = overlap_rows(entry), entry.get("reliability") or {}
    if not rows or not is_number(halves := reliability.get("replicates")):
        return ""
    row = min(rows, key=lambda one: abs(one["share"] - _EXAMPLE))
    said = (
        f"Probes trained on two halves of the training sentences share {percent(row['overlap'])} of their first "
        f"{share(row['share'])} of the neurons, where random orders share {percent(row['chance'])} "
        f"({integer(halves)} half-samples)."
    )
    high = row.get("chance_high")
    if is_number(high) and row["overlap"] <= high:
        said += " That is no more than chance allows: which neurons come first depends on the sentences."
    if all(is_number(reliability.get(name)) for name in ("stable_neurons", "selected", "threshold")):
        stable, bound = reliability["stable_neurons"], reliability.get("error_bound")
        said += (
            f" {integer(stable)} neuron{' is' if stable == 1 else 's are'} among the first "
            f"{integer(reliability['selected'])} in {share(reliability['threshold'])} of the halves or more"
            + (f"; at most {number(bound)} are to be expected there by chance." if is_number(bound) else ".")
        )
        if is_number(bound) and stable <= bound:
            said += " By this bound no single neuron is told from chance."
    return said


def size_interval(minimal: Mapping[str, Any]) -> str:
    """Writes the interval of the size of the smallest set; empty if it is not known."""
    low, high = (*(minimal.get("neurons_interval") or ()), None, None)[:2]
    if not is_number(low):
        return ""
    to = integer(high) if is_number(high) else "more than were tried"
    return f" (95% interval over dev sentences {integer(low)} to {to})"


def neuron_sentence(reliability: Mapping[str, Any], neuron: Mapping[str, Any]) -> str:
    """Says how often half-samples select a neuron, and where it ranks there; empty if it is not known.

    Args:
        reliability: The `reliability` entry of a task.
        neuron: The neuron's entry of its `top_neurons`.
    """
    ends = neuron.get("rank_interval") or ()
    numbers = (reliability.get("replicates"), reliability.get("selected"), neuron.get("frequency"), *ends)
    if len(ends) != 2 or not all(map(is_number, numbers)):
        return ""
    halves = reliability["replicates"]
    said = (
        f"Among the first {integer(reliability['selected'])} in {share(neuron['frequency'])} of {integer(halves)} "
        f"half-samples, at ranks {integer(ends[0])} to {integer(ends[1])}"
    )
    # The ends leave out a part of the samples only where there are 40 or more.
    return said + (" (middle 95%)." if halves >= 40 else ".")
