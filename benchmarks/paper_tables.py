"""The papers' main tables on one small model: sets that are kept or trained again, minimal sets, layers, copies.

    python -m benchmarks.paper_tables --upos en_ewt-ud-train.conllu.gz --chunk conll2000/train.txt.gz \
        --sem pmb-4.0.0-en-gold-train.conll.gz --work WORK --out tables.json

Sentences of each file are drawn by the seed 0 and divided: probes are trained on the first part, sizes of minimal sets
are chosen on the second, everything is measured on the third. The result has for every task

- `accuracy` of the probe with its interval, of its baselines and its control task;
- `masked` (Dalvi et al. 2019, Table 2; Durrani et al. 2020, Table 1; 2023, Table 2) and `retrained` (2019, Table 4;
  2023, Tables 3 and 5) by share of the neurons: accuracy of each set of neurons, and `leads` of one set over another;
- `minimal` (2020, Table 2): the smallest first part that keeps .99 of the gain, its size on resampled dev sentences,
  and what it adds to the selectivity;
- `depth` (2020, Figure 1; 2023, Figure 6): the share of the first neurons in every layer, in the lower half, and their
  mean layer, over half-samples; `raw` the same of features as they are (Sajjad et al. 2022);
- `layers` (Dalvi et al. 2020, Table 1): accuracy of probes of the lowest layers alone, up to each, and the lead of all;
- `classes` (2019, Figure 6; 2023, Figure 13): neurons by class among the first ones, and words by class;
- `copies` (Dalvi et al. 2020, section 4.1): clusters of neurons by average linkage, at several least correlations.

All intervals are of 95 %: over resampled sentences for accuracies, over complementary half-samples for layers.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import tyro
from jaxtyping import Float

from benchmarks import harness
from benchmarks.kept_sets import masked_by, minimal, retrained_by, sets_of, with_interval
from benchmarks.source import ModelAndCorpus
from lca_jax.analysis.distribution import sharing
from lca_jax.analysis.half_intervals import interval_of_halves
from lca_jax.analysis.overlap import first_part
from lca_jax.analysis.retraining import TrainingWords, hits_of_nested_sets
from lca_jax.analysis.samples import fit_samples, rank_samples
from lca_jax.extraction.extract import extract
from lca_jax.models.load import load_model
from lca_jax.models.model import Model
from lca_jax.probing.comparison import evaluate
from lca_jax.probing.fit import fit_probes
from lca_jax.probing.measuring import MeasuredWords, measured_words
from lca_jax.probing.objective import ElasticNet
from lca_jax.probing.probe_set import ProbeSet
from lca_jax.ranking.correlated import correlated_groups
from lca_jax.ranking.lca import neurons_by_class
from lca_jax.ranking.methods import rank
from lca_jax.ranking.ranking import Ranking
from lca_jax.ranking.words import read_words
from lca_jax.store.store import ActivationStore
from lca_jax.text.corpus import Corpus
from lca_jax.text.formats import read_corpus

_MASKED, _RETRAINED = (0.1, 0.2), (0.05, 0.1)
_THRESHOLDS = (0.3, 0.5, 0.7, 0.9)


@dataclass(frozen=True, kw_only=True)
class Settings(ModelAndCorpus):
    """Settings of the benchmark; a task whose file is not given is left out."""

    upos: Path | None = None
    """CoNLL-U file, for parts of speech."""
    chunk: Path | None = None
    """File of CoNLL-2000, for chunks."""
    sem: Path | None = None
    """File of the Parallel Meaning Bank, for semantic tags."""
    work: Path
    """Folder in which every task's part is kept when it is done."""
    out: Path
    """Where the result is written."""
    words: tuple[int, int, int] = (5000, 3000, 4000)
    """Words to train on, to choose on and to measure on; whole sentences."""
    draws: int = 3
    """Random sets."""
    halves: int = 10
    """Half-samples, two of each division."""
    share: float = 0.05
    """Share of the neurons whose layers and classes are counted."""
    l1: float = 1e-3
    l2: float = 1e-2

    @property
    def files(self) -> dict[str, Path]:
        """The files that were given, by task."""
        return {task: path for task in ("upos", "chunk", "sem") if (path := getattr(self, task)) is not None}


def main(arguments: Sequence[str] | None = None) -> None:
    """Measures every task, prints the tables and writes the result."""
    settings = tyro.cli(Settings, args=arguments, description="The papers' main tables on one small model.")
    model, tasks = load_model(settings.model_folder), {}
    for task, path in settings.files.items():
        kept = settings.work / f"{task}.json"
        if not kept.exists():
            measured = measure_task(model, task, divide(read_corpus(path, tasks=[task]), settings.words), settings)
            settings.work.mkdir(parents=True, exist_ok=True)
            kept.write_text(json.dumps(measured), encoding="utf-8")
        tasks[task] = json.loads(kept.read_text("utf-8"))
    for task, found in tasks.items():
        rows = {
            f"{how}, {share}": at["accuracy"] for how in ("masked", "retrained") for share, at in found[how].items()
        }
        harness.print_table(task, {name: {who: one[0] for who, one in row.items()} for name, row in rows.items()})
    names = {"model": settings.model_folder.name, **{task: path.name for task, path in settings.files.items()}}
    head = {"input": names, "penalty": {"l1": settings.l1, "l2": settings.l2}, "draws": settings.draws}
    harness.write_result(settings.out, "paper_tables", {**head, "halves": settings.halves, "tasks": tasks})


def divide(corpus: Corpus, words: tuple[int, int, int]) -> list[Corpus]:
    """Returns three parts of so many words or a few more, of different sentences drawn by the seed 0."""
    chosen = corpus.take_words(sum(words), seed=0)
    counted = np.cumsum([len(sentence) for sentence in chosen.sentences])
    ends = [0, *(int(np.searchsorted(counted, end)) + 1 for end in np.cumsum(words)[:2]), chosen.sentence_count]
    return [chosen.take_sentences(first, last) for first, last in pairwise(ends)]


def measure_task(model: Model, task: str, parts: Sequence[Corpus], settings: Settings) -> dict[str, Any]:
    """Measures one task."""
    train, dev, test = (extract(model, part) for part in parts)
    probes = fit_probes(train, ElasticNet(l1=settings.l1, l2=settings.l2), tasks=[task])
    whole = evaluate(probes, test, task)
    words = measured_words(test, probes.axis, task, probes.one(task).classes)
    training = TrainingWords.of(probes, task)
    rankings = {name: rank(probes, task, method=by) for name, by in (("lca", "lca"), ("magnitude", "mean_weight"))}
    rankings["probeless"] = rank(read_words(train, task), task, method="probeless")
    lca, masked, draws = rankings["lca"], masked_by(probes, task, words), settings.draws
    samples = fit_samples(probes, task, replicates=settings.halves)
    return {
        "words": [part.word_count for part in parts],
        "classes_of_task": len(probes.one(task).classes),
        "neurons": probes.axis.size,
        "accuracy": {
            "all": [whole.accuracy, *whole.interval],
            **{name: [rival.accuracy, rival.lead, *rival.interval] for name, rival in whole.rivals.items()},
        },
        "masked": sets_of(rankings, _MASKED, words, masked, draws, masked),
        "retrained": sets_of(rankings, _RETRAINED, words, retrained_by(training, words), draws, masked),
        "minimal": minimal(probes, task, lca, training, (dev, test)),
        "depth": depth(samples, task, settings.share),
        "raw": raw_depth(train, task, settings),
        "layers": layers(training, words, probes),
        "classes": classes(probes, samples, task, settings.share),
        "copies": {str(least): copies(train, least) for least in _THRESHOLDS},
    }


def depth(samples: ProbeSet, task: str, share: float) -> dict[str, Any]:
    """Counts the first neurons by layer, over half-samples."""
    whole, halves = rank(samples, task), rank_samples(samples, task)
    axis, count = whole.axis, round(share * whole.axis.size)
    numbers = np.array([block.layer for block in axis.blocks], float)
    lower = numbers <= (numbers[0] + numbers[-1]) / 2

    def shares(ranking: Ranking) -> Float[np.ndarray, " layer"]:
        return np.bincount(axis.block_of_column, weights=first_part(ranking, count)) / count

    first, sampled = shares(whole), np.stack([shares(half) for half in halves])
    return {
        "neurons": count,
        "layers": first.tolist(),
        "centre": list(interval_of_halves(float(first @ numbers), sampled @ numbers)),
        "lower_half": list(
            interval_of_halves(float(first[lower].sum()), sampled[:, lower].sum(axis=1)).within(0.0, 1.0)
        ),
        "lower_half_of_all": float(np.isin(axis.block_of_column, np.flatnonzero(lower)).mean()),
        "centre_of_halves": (sampled @ numbers).tolist(),
    }


def raw_depth(train: ActivationStore, task: str, settings: Settings) -> dict[str, Any]:
    """Counts the first neurons of a probe of features that are not standardised, by layer."""
    net = ElasticNet(l1=settings.l1, l2=settings.l2, standardize=False)
    probes = fit_probes(train, net, tasks=[task], control=False)
    return depth(fit_samples(probes, task, replicates=settings.halves), task, settings.share)


def layers(training: TrainingWords, words: MeasuredWords, probes: ProbeSet) -> dict[str, Any]:
    """Trains probes on the lowest layers alone, up to each."""
    ends = np.cumsum(np.bincount(probes.axis.block_of_column)).tolist()
    right = hits_of_nested_sets(training, words, np.arange(probes.axis.size), ends).astype(float)
    return {
        "up_to": [with_interval(one, words) for one in right],
        # Over itself it is 0, whatever words come.
        "lead_of_all": [*(with_interval(right[-1] - one, words, least=-1) for one in right[:-1]), [0.0, 0.0, 0.0]],
    }


def classes(probes: ProbeSet, samples: ProbeSet, task: str, share: float) -> dict[str, Any]:
    """Counts the first neurons by class, also on every half-sample."""
    count = round(share * probes.axis.size)
    found, *halves = (
        neurons_by_class(samples, task, count=count, replicate=number) for number in range(samples.replicates + 1)
    )
    labels = [] if probes.store is None else list(probes.store.labels(task))
    return {
        "neurons": {name: len(columns) for name, columns in found.items()},
        "words": {name: labels.count(name) for name in found},
        "sharing_factor": sharing(found).factor,
        "of_halves": [{name: len(columns) for name, columns in half.items()} for half in halves],
        "sharing_factor_of_halves": [sharing(half).factor for half in halves],
    }


def copies(store: ActivationStore, least: float) -> int:
    """Returns the number of clusters of neurons that correlate by at least so much in the mean."""
    return len(np.unique(correlated_groups(store, threshold=least, linkage="average").group_of_column))


if __name__ == "__main__":
    main()
