"""The entries of a task about its accuracy: what it must beat, other scores, its errors, and what determined them."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from lca_jax.analysis.codelength import OnlineCode
from lca_jax.experiment.config import Experiment
from lca_jax.experiment.controls import SEEDS, Selectivity
from lca_jax.experiment.rankings import Rankings
from lca_jax.probing.class_scores import Score
from lca_jax.probing.comparison import Comparison
from lca_jax.probing.measuring import MeasuredWords
from lca_jax.probing.metrics import RESAMPLES
from lca_jax.store.store import ActivationStore

_CONFUSIONS, _EXAMPLES, _NEAR = 12, 3, 4
"""Number of errors that are listed, of words for each of them, and of neighbours on either side of such a word."""

_CHOICES = {
    "score": "largest S on dev",
    "accuracy": "largest accuracy on dev",
    "one_se": "strongest within one standard error of the best accuracy on dev",
}


def score_entries(found: Comparison, selectivity: Selectivity | None) -> dict[str, object]:
    """Returns the entries about the probe on test beside what it must beat, with the control tasks of all seeds."""
    rivals, seen, unseen = found.rivals, found.seen_words, found.unseen_words
    majority = rivals.get("word_type_majority")
    leads = {name: (rival.lead, rival.interval) for name, rival in rivals.items()}
    if selectivity is not None:
        leads["control"] = (selectivity.value, selectivity.interval)
    most, entities = rivals["most_frequent_class"], found.entities
    return {
        "accuracy_interval": {"test": list(found.interval)},
        "macro_f1": _score_entry(found.macro_f1),
        "balanced_accuracy": _score_entry(found.balanced_accuracy),
        "entities": None
        if entities is None
        else {
            **{name: _score_entry(getattr(entities, name)) for name in ("f1", "precision", "recall")},
            **{name: getattr(entities, name) for name in ("gold", "predicted", "right")},
        },
        "most_frequent_class": {"name": found.most_frequent_class, "accuracy": most.accuracy},
        "word_type_majority": None if majority is None else majority.accuracy,
        "control_accuracy": None if selectivity is None else float(np.mean(selectivity.accuracies)),
        "control_accuracies": None if selectivity is None else list(selectivity.accuracies),
        "lead": {name: {"difference": lead, "interval": list(ends)} for name, (lead, ends) in leads.items()},
        "beats_baselines": bool(leads) and all(ends[0] > 0 for _, ends in leads.values()),
        "selectivity": None if selectivity is None else selectivity.value,
        "selectivity_interval": None if selectivity is None else list(selectivity.interval),
        "seen_words": None if seen is None else asdict(seen),
        "unseen_words": None if unseen is None else asdict(unseen),
        "confusion": found.confusion.tolist(),
    }


def codelength_entry(codes: tuple[OnlineCode, OnlineCode | None]) -> dict[str, object]:
    """Returns the `codelength` entry: the online code of a task, and that of its control task."""
    code, control = codes
    return {
        "bits": code.length,
        "uniform_bits": code.uniform,
        "compression": code.compression,
        "control_bits": None if control is None else control.length,
        "control_compression": None if control is None else control.compression,
        "blocks": [{"words": words, "bits": bits} for words, bits in zip(code.words, code.bits, strict=True)],
    }


def determined_by(
    rankings: Rankings, settings: Experiment, store: ActivationStore, *, masked_to: str | None
) -> dict[str, Any]:
    """Returns the `determined_by` entry: every setting and rule behind the numbers of a task, beside its texts."""
    fit = rankings.probes.settings
    return {
        "standardize": fit.standardize,
        "penalty": fit.penalty,
        "solver": fit.solver,
        "tolerance": fit.tolerance,
        "grid_l1": sorted({l1 for l1, _ in fit.pairs}),
        "grid_l2": sorted({l2 for _, l2 in fit.pairs}),
        "penalty_rule": _CHOICES[settings.select],
        "ranking": rankings.rule,
        "tie_rule": rankings.tie_rule,
        "replicates": settings.replicates,
        "replicates_least_l2": settings.halves_l2,
        "masked_to": masked_to,
        "pooling": str(store.manifest.recipe.pool),
        "stored_as": str(store.manifest.recipe.dtype),
        "drop": settings.drop,
        "drop_rule": "share of the gain over the best constant on dev",
        "intervals": f"95 % percentile bootstrap over sentences, {RESAMPLES} samples, and as far as unseen words reach",
        "seed": settings.seed,
        "control_seeds": [fit.seed, fit.seed + SEEDS - 1],
        "untrained_seed": settings.untrained,
    }


def confusion_entries(found: Comparison, test: MeasuredWords, store: ActivationStore) -> list[dict[str, object]]:
    """Returns the most frequent errors, each with a few of its words in their sentences."""
    counts, classes = found.confusion.copy(), list(found.by_class)
    np.fill_diagonal(counts, 0)
    forms, sentence_of = store.forms(), store.words["sentence"].to_numpy()
    entries: list[dict[str, object]] = []
    for flat in np.argsort(-counts, axis=None, kind="stable")[:_CONFUSIONS].tolist():
        gold, predicted = divmod(flat, len(classes))
        if not counts[gold, predicted]:
            break
        places = test.units[(test.gold == gold) & (found.predicted == predicted)]
        entries.append(
            {
                "gold": classes[gold],
                "predicted": classes[predicted],
                "words": int(counts[gold, predicted]),
                "examples": [_in_sentence(forms, sentence_of, int(place)) for place in places[:_EXAMPLES]],
            }
        )
    return entries


def _score_entry(score: Score) -> dict[str, object]:
    return {"value": score.value, "interval": [score.low, score.high]}


def _in_sentence(forms: Sequence[str], sentence_of: np.ndarray, place: int) -> dict[str, str]:
    """Returns a word with a few of its neighbours in the same sentence."""
    near = range(max(0, place - _NEAR), min(len(forms), place + _NEAR + 1))
    same = [other for other in near if sentence_of[other] == sentence_of[place]]
    before = " ".join(forms[other] for other in same if other < place)
    after = " ".join(forms[other] for other in same if other > place)
    return {"before": before, "word": forms[place], "after": after}
