"""Contents of `results.json` for the tests of pages and findings: one good result, and the changes that make others."""

import copy
from typing import Any

CURVE = [
    {
        "fraction": 0.1, "neurons": 2, "top": 0.611, "top_low": 0.581, "top_high": 0.633,
        "random": 0.412, "random_std": 0.0213, "bottom": 0.214,
    },
    {
        "fraction": 0.2, "neurons": 5, "top": 0.715, "top_low": 0.691, "top_high": 0.737,
        "random": 0.516, "random_std": 0.0317, "bottom": 0.218,
    },
    {"fraction": 1, "neurons": 24, "top": 0.876, "random": 0.876, "random_std": 0, "bottom": 0.876},
]  # fmt: skip
RESULTS: dict[str, Any] = {
    "format": 5,
    "key": "abc",
    "date": "2026-01-02T03:04:05+00:00",
    "command": "lca run --model tiny --train train.conllu",
    "model": {"name": "hub/tiny", "layers": 3, "width": 8, "neurons": 24, "parameters": 31337, "fingerprint": "f00d"},
    "corpus": {
        "train": {
            "name": "train.conllu", "sentences": 1201, "words": 20303, "excluded": {"no piece": 7},
            "drawn_from": {"sentences": 2202, "words": 40404},
        },
        "dev": {"name": "dev.conllu", "sentences": 102, "words": 2404, "excluded": {}},
        "test": {"name": "test.conllu", "sentences": 103, "words": 2505, "excluded": {"longer than a window": 2}},
    },
    "tasks": {
        "upos": {
            "classes": ["NOUN", "VERB"],
            "words": {"train": 20001, "dev": 2002, "test": 2003},
            "unseen_labels": {"dev": {}, "test": {"INTJ": 31, "SYM": 6}},
            "most_frequent_class": {"name": "NOUN", "accuracy": 0.171},
            "word_type_majority": 0.762,
            "lead": {
                "most_frequent_class": {"difference": 0.705, "interval": [0.681, 0.722]},
                "word_type_majority": {"difference": 0.114, "interval": [0.097, 0.132]},
                "control": {"difference": 0.333, "interval": [0.308, 0.357]},
            },
            "beats_baselines": True,
            "macro_f1": {"value": 0.8181, "interval": [0.803, 0.829]},
            "balanced_accuracy": {"value": 0.8734, "interval": [0.851, 0.887]},
            "entities": None,
            "training_words": {"NOUN": 12001, "VERB": 8000},
            "seen_words": {"words": 1696, "accuracy": 0.907, "interval": [0.893, 0.921]},
            "determined_by": {"standardize": True, "penalty_rule": "largest S on dev", "grid_l1": [0, 1e-4]},
            "codelength": {"bits": 9123.4, "uniform_bits": 20001.0, "compression": 2.19, "control_compression": 1.04},
            "accuracy": {"dev": 0.881, "test": 0.876},
            "accuracy_interval": {"test": [0.861, 0.892]},
            "unseen_words": {"words": 307, "accuracy": 0.707, "interval": [0.653, 0.755]},
            "l1": 1e-4,
            "l2": 2e-5,
            "objective": 0.4567,
            "duality_gap": 3.1e-6,
            "iterations": 417,
            "nonzero_fraction": 0.321,
            "control_accuracy": 0.543,
            "selectivity": 0.333,
            "draws": 5,
            "masked_to": "training mean",
            "keep": {"mask": CURVE, "retrain": [{**point, "top": point["top"] + 0.011} for point in CURVE]},
            "minimal": {
                "drop": 0.01, "constant_dev": 0.5, "gain_kept_dev": 0.976,
                "neurons": 5, "fraction": 0.208, "accuracy": 0.847, "accuracy_interval": [0.829, 0.863],
                "loss": 0.029, "loss_interval": [0.018, 0.041], "accuracy_dev": 0.872, "control_accuracy": 0.252,
                "selectivity": 0.595,
            },
            "layers": [0.5, 0.3, 0.2],
            "layer_names": ["residual 0", "residual 1", "residual 2"],
            "centre_of_mass": 0.7,
            "per_class": {
                "NOUN": {
                    "neurons": 4, "recall": 0.919, "recall_interval": [0.901, 0.934], "words": 1204,
                    "layers": [0.6, 0.25, 0.15], "top": [["residual", 2, 7]],
                },
                "VERB": {"neurons": 2, "recall": 0.828, "words": 1305, "layers": [0.1, 0.2, 0.7]},
            },
            "sharing": {"sum": 6, "distinct": 4, "factor": 1.5},
            "top_neurons": [
                {
                    "site": "residual", "layer": 2, "index": 7, "class": "VERB", "weight": -0.417, "mean_inside": 1.23,
                    "mean_outside": -0.45, "deviation": 0.9,
                    "copies": [{"site": "residual", "layer": 1, "index": 7, "correlation": 0.961}],
                }
            ],
            "by_layer": [
                {"layer": f"residual {layer}", "accuracy": 0.811 + layer / 100, "interval": [0.8, 0.84]}
                for layer in range(3)
            ],
            "by_layer_untrained": [
                {"layer": f"residual {layer}", "accuracy": 0.737 - layer / 100, "interval": [0.72, 0.75]}
                for layer in range(3)
            ],
            "confusions": [
                {
                    "gold": "NOUN", "predicted": "VERB", "words": 97,
                    "examples": [{"before": "They", "word": "walks", "after": "home"}],
                }
            ],
            "search": [
                {"l1": 0, "l2": 1e-5, "score": 0.123, "accuracy": 0.777, "top": 0.7, "bottom": 0.3, "chosen": False},
                {"l1": 1e-4, "l2": 2e-5, "score": 0.234, "accuracy": 0.872, "chosen": True},
            ],
        }
    },
    "seconds": {"extract": 3.25, "probe": 200.0},
    "device": {"kind": "cpu", "devices": ["a", "b"], "distributed": False},
    "versions": {"jax": "0.10.2"},
    "seed": 11,
}  # fmt: skip


def good() -> dict[str, Any]:
    """A result that beats every baseline."""
    return copy.deepcopy(RESULTS)


def beaten() -> dict[str, Any]:
    """One that is worse than always answering with the most frequent class."""
    results = good()
    task = results["tasks"]["upos"]
    task["accuracy"]["test"], task["accuracy_interval"]["test"] = 0.572, [0.531, 0.608]
    task["most_frequent_class"]["accuracy"] = 0.686
    task["word_type_majority"] = 0.431
    task["lead"] = {
        "most_frequent_class": {"difference": -0.114, "interval": [-0.151, -0.082]},
        "word_type_majority": {"difference": 0.141, "interval": [0.102, 0.183]},
        "control": {"difference": 0.029, "interval": [0.004, 0.057]},
    }
    task["beats_baselines"] = False
    return results


def undefined() -> dict[str, Any]:
    """One with negative selectivity, a class without test words, and parts that nothing is known of."""
    results = good()
    task = results["tasks"]["upos"]
    task["lead"]["control"] = {"difference": -0.051, "interval": [-0.083, -0.021]}
    task["selectivity"], task["control_accuracy"] = -0.051, 0.927
    task["beats_baselines"] = False
    task["unseen_words"] = {"words": 0, "accuracy": None, "interval": None}
    task["unseen_labels"] = {"dev": {}, "test": {}}
    task["per_class"]["VERB"] = {"neurons": 0, "recall": None, "recall_interval": None, "words": 0, "layers": [0, 0, 0]}
    task["confusions"], task["keep"] = [], {}
    return results
