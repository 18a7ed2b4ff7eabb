"""The findings of a run in sentences that need no legend, for the command line."""

from collections.abc import Mapping
from typing import Any


def findings(results: Mapping[str, Any], task: str) -> tuple[str, str, str]:
    """Writes three findings about one task: the accuracy, how few neurons suffice, and the layers they are in.

    Args:
        results: The content of `results.json`.
        task: One of its tasks.
    """
    entry = results["tasks"][task]
    return (
        _describe_accuracy(results["model"]["neurons"], task, entry),
        _describe_minimal_set(entry),
        _describe_layers(entry),
    )


def _describe_accuracy(neurons: int, task: str, entry: Mapping[str, Any]) -> str:
    low, high = entry["accuracy_interval"]["test"]
    unit = entry.get("unit", "word")
    if entry["control_accuracy"] is None:
        baseline = f"The most frequent class alone gives {_percent(entry['majority'])}."
    else:
        baseline = (
            f"Knowing only each {unit}'s most frequent class gives {_percent(entry['majority'])}, "
            f"random classes for {unit} types {_percent(entry['control_accuracy'])}."
        )
    return (
        f"All {neurons:,} neurons together tell the {len(entry['classes'])} classes of `{task}` apart for "
        f"{_percent(entry['accuracy']['test'])} of the test {unit}s (95 % interval {_percent(low)} to "
        f"{_percent(high)}). {baseline}"
    )


def _describe_minimal_set(entry: Mapping[str, Any]) -> str:
    minimal = entry["minimal"]
    point = entry["keep"]["mask"][-1]
    return (
        f"{minimal['neurons']:,} neurons ({_percent(minimal['fraction'])}) trained alone come to "
        f"{_percent(minimal['accuracy'])} on test. With the others masked, the best {_percent(point['fraction'])} keep "
        f"{_percent(point['top'])}, as many random ones {_percent(point['random'])} "
        f"(± {100 * point['random_std']:.1f}), the last {_percent(point['bottom'])}."
    )


def _describe_layers(entry: Mapping[str, Any]) -> str:
    shares = entry["layers"]
    most = max(range(len(shares)), key=lambda layer: shares[layer])
    counts = {name: row["neurons"] for name, row in entry["per_class"].items() if row["words"]}
    widest = max(counts, key=lambda name: counts[name])
    narrowest = min(counts, key=lambda name: counts[name])
    return (
        f"These neurons sit around layer {entry['centre_of_mass']:.1f}, most of them ({_percent(shares[most])}) in "
        f"{entry['layer_names'][most]}; {widest} needs most ({counts[widest]}), {narrowest} fewest "
        f"({counts[narrowest]}), and a neuron serves {entry['sharing']['factor']:.2f} classes on average."
    )


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"
