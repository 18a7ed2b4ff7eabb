"""Contents of the `results.json` of a survey, for the tests of its pages: three languages, or any number of them."""

from itertools import combinations
from typing import Any

NAMES = ("en", "de", "fr")
SHARED, LESS, NONE = "as far as reliability allows", "less than reliability allows", "no more than chance"


def pair(one: str, other: str, verdict: str = SHARED, share: float = 0.05) -> dict[str, Any]:
    return {
        "pair": [one, other],
        "share": share,
        "neurons": 50,
        "overlap": 0.5,
        "chance": 0.05,
        "chance_of_layers": 0.08,
        "p_chance": 0.001,
        "overlap_of_halves": 0.4,
        "ceiling": 0.45,
        "shortfall": 0.05,
        "shortfall_interval": [-0.02, 0.12],
        "p_less": 0.2,
        "of_ceiling": 0.875,
        "verdict": verdict,
    }


def sharing(*verdicts: str) -> dict[str, Any]:
    pairs = [("en", "de"), ("en", "fr"), ("de", "fr")]
    return {
        "names": list(NAMES),
        "size": 1000,
        "pairs": [pair(*names, verdict) for names, verdict in zip(pairs, verdicts, strict=True)],
        "by_all": [
            {"share": 0.05, "of": 50, "neurons": 12, "expected": 0.125, "p": 1e-9, "first": [["residual", 1, 2]]}
        ],
        "map": {
            "share": 0.05,
            "leaves": ["fr", "en", "de"],
            "joins": [
                {"left": 0, "right": 1, "height": 0.2, "members": ["en", "de"], "support": 0.8},
                {"left": 2, "right": 3, "height": 0.6, "members": ["fr", "en", "de"], "support": 1.0},
            ],
        },
    }


def transfer(source: str, target: str) -> dict[str, Any]:
    own = source == target
    return {
        "source": source,
        "target": target,
        "words": 200,
        "accuracy": 0.9 if own else 0.7,
        "interval": [0.65, 0.75],
        "own_scale": 0.8,
        "own_scale_interval": [0.75, 0.85],
        "unknown": 3,
        "new_forms": 90,
        "new_forms_accuracy": 0.6,
        "new_forms_interval": [0.5, 0.7],
        "rivals": {"source_class": 0.2, "target_class": 0.3, "source_types": 0.35},
        "lead": 0.4,
        "lead_interval": [0.3, 0.5],
        "lost": 0.0 if own else 0.2,
        "lost_interval": [0.0, 0.0] if own else [0.1, 0.3],
    }


def of_task(*verdicts: str) -> dict[str, Any]:
    return {
        "compared": list(NAMES),
        "left_out": [],
        "sharing": {"neurons": sharing(*verdicts), "groups": sharing(*verdicts)},
        "transfer": [transfer(source, target) for target in NAMES for source in NAMES],
    }


def class_place(neurons: float, depth: float) -> dict[str, Any]:
    return {
        "neurons": [neurons, neurons - 1.0, neurons + 1.0],
        "depth": [depth, depth - 0.1, depth + 0.1],
        "lower_half": [0.5, 0.4, 0.6],
    }


LOCALISATION: dict[str, Any] = {
    "neurons": 30,
    "classes": {"NOUN": class_place(9.0, 0.6), "<b>": class_place(2.0, 0.2) | {"depth": None}},
    "classes_a_neuron": [8, 3],
    "open_and_closed": {
        "open": class_place(9.0, 0.6),
        "closed": class_place(2.0, 0.2),
        "more_neurons": [7.0, 5.0, 9.0],
        "deeper": [0.4, -0.1, 0.9],
    },
}
REDUNDANCY: dict[str, Any] = {
    "clusters": {"threshold": 0.7, "neurons": 1000, "clusters": 412},
    "layers": {
        "names": ["residual 0", "residual 1"],
        "cka": {"values": [[1.0, 0.83], [0.83, 1.0]], "chance": [[0.1, 0.1], [0.1, 0.1]]},
        "pwcca": {"values": [[1.0, 0.71], [0.72, 1.0]], "chance": [[0.2, 0.2], [0.2, 0.2]]},
    },
    "tasks": {
        "upos": {
            "accuracy": 0.93,
            "least": 0.92,
            "disjoint_sets": {
                "neurons": [40, 55, 90], "accuracies": [0.92, 0.92, 0.93], "is_all": True,
                "random_sets": 5, "random_enough": 1,
            },
            "lower_layers": {"names": ["residual 0", "residual 1"], "accuracies": [0.9, 0.93], "enough": 2},
            "one_a_cluster": {"neurons": 412, "accuracy": 0.91, "enough": False},
        }
    },
}  # fmt: skip


def cell(accuracy: float = 0.9, *, beats: bool = True) -> dict[str, Any]:
    layer = {"layer": "residual 0", "depth": 0.0, "share": 1.0, "interval": [0.8, 1.0], "expected": 0.5}
    return {
        "folder": "runs/m/c",
        "tasks_shared": None,
        "tasks": {
            "upos": {
                "words": {"test": 200},
                "accuracy": {"test": accuracy},
                "accuracy_interval": {"test": [accuracy - 0.02, accuracy + 0.02]},
                "most_frequent_class": {"name": "NOUN", "accuracy": 0.3},
                "word_type_majority": 0.6,
                "selectivity": 0.2,
                "selectivity_interval": [0.1, 0.3],
                "beats_baselines": beats,
                "minimal": {"neurons": 30, "neurons_interval": [20, None], "fraction": 0.03},
                "sharing": {"factor": 1.2},
                "class_neurons": {"NOUN": 9, "<b>": 2},
                "reliability": {"overlap": 0.5, "chance": 0.05},
                "untrained": None,
                "localisation": LOCALISATION,
                "depth": {
                    "lower_half": [0.9, 0.8, 1.0],
                    "mean": 0.2,
                    "interval": [0.1, 0.3],
                    "expected": 0.5,
                    "layers": [layer, {**layer, "share": 0.0}],
                },
            }
        },
    }


SPECIFIC = {
    "neurons": 10, "of": 1000, "expected": 0.2, "p": 1 / 21, "layer_names": ["residual 0"],
    "languages": {name: {"neurons": 4, "layers": [4], "first": [["residual", 0, 3]]} for name in NAMES},
}  # fmt: skip


def results(*verdicts: str) -> dict[str, Any]:
    return {
        "format": 2, "date": "2026-01-01", "questions": ["languages", "architectures"], "tasks": ["upos"],
        "models": ["m", "n"], "corpora": list(NAMES), "share": 0.05, "seed": 0,
        "aligned": {"common": 1000, "sentences": dict.fromkeys(NAMES, 1000)},
        "cells": {"m": {name: cell() for name in NAMES}, "n": {name: cell(0.8) for name in NAMES}},
        "languages": {model: {"specific": SPECIFIC, "tasks": {"upos": of_task(*verdicts)}} for model in ("m", "n")},
        "redundancy": None,
    }  # fmt: skip


def many_languages(count: int) -> dict[str, Any]:
    """One model in so many languages, every pair of which was compared."""
    names = [f"l{number:03d}" for number in range(count)]
    pairs = [pair(*two, (SHARED, LESS, NONE)[place % 3]) for place, two in enumerate(combinations(names, 2))]
    found = sharing(SHARED, SHARED, SHARED) | {"names": names, "size": 2688, "pairs": pairs}
    joins = [
        {"left": place - 1 + (count if place > 1 else 0) - (place > 1), "right": place, "height": place / count,
         "members": names[: place + 1], "support": 1.0}
        for place in range(1, count)
    ]  # fmt: skip
    found["map"] = {"share": 0.05, "leaves": names, "joins": joins}
    task = {
        "compared": names,
        "left_out": [],
        "sharing": {"neurons": found, "groups": found},
        "transfer": [transfer(source, target) for target in names for source in names],
    }
    specific = SPECIFIC | {"languages": dict.fromkeys(names, SPECIFIC["languages"]["en"])}
    return results(SHARED, SHARED, SHARED) | {
        "questions": ["languages"],
        "models": ["m"],
        "corpora": names,
        "aligned": None,
        "cells": {"m": {name: cell() | {"folder": f"runs/m/{name}"} for name in names}},
        "languages": {"m": {"specific": specific, "tasks": {"upos": task}}},
    }
