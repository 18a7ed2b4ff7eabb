"""What fine-tuning moves: a model tuned for sentiment, and the salient neurons of a task before and after.

    python -m benchmarks.fine_tuning --train sst2-train.tsv.gz --dev sst2-dev.tsv.gz --test sst2-test.tsv.gz \
        --corpus en_ewt-ud-train.conllu.gz --work WORK --out fine-tuning.json

The sentiment files have a label and a text in each row. For every seed the model is tuned in a folder of WORK; a
program that was killed goes on there. Then the words of the treebank are extracted from the untuned and from each tuned
model, one certified probe each is fitted to all words and to half-samples, the same ones for every model, and the
neurons are ranked by it. The result has

- `tunings`: accuracy on dev (where the step was chosen) and test, loss by step, seconds since the last start;
- `before` and, by seed, `after`: the probe's accuracy on other sentences; that of probes trained again on the first and
  on the last tenth of the ranking; the number of salient neurons by layer; their mean layer with its interval;
- `shifts`: the move of the mean layer with its interval, and the overlap beside chance and noise ceiling;
- `claim`: whether salient neurons move to lower layers (Durrani et al. 2023, section 5.4): `holds` if the interval is
  below 0 for every seed, `fails` if it is below 0 for none and above 0 for some, and `within noise` otherwise.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import tyro

from benchmarks import harness
from benchmarks.source import ModelAndCorpus
from lca_jax.analysis.relocation import Relocation, measure_relocation
from lca_jax.analysis.retraining import TrainingWords, hits_of_nested_sets
from lca_jax.analysis.samples import rank_samples
from lca_jax.extraction.extract import extract
from lca_jax.models.load import load_model
from lca_jax.models.model import Model
from lca_jax.probing.fit import fit_probes
from lca_jax.probing.measuring import measured_words
from lca_jax.probing.objective import ElasticNet
from lca_jax.ranking.lca import rank_neurons
from lca_jax.ranking.ranking import Ranking
from lca_jax.text.corpus import Corpus
from lca_jax.text.formats import read_corpus
from lca_jax.text.options import TextOptions
from lca_jax.training.classify import classify
from lca_jax.training.settings import Tuning
from lca_jax.training.tune import tune

_TUNING = Tuning(epochs=2, rate=1e-4, evaluate_every=72, checkpoint_every=36)


@dataclass(frozen=True, kw_only=True)
class Settings(ModelAndCorpus):
    """Settings of the benchmark."""

    train: Path
    """Training sentences with a label in the first column and the text in the second."""
    dev: Path
    """Sentences on which the best step is chosen."""
    test: Path
    """Sentences that are only measured."""
    work: Path
    """Folder of the tunings."""
    out: Path
    """Where the result is written."""
    sentences: int | None = None
    """Training sentences at most, the first ones; None for all."""
    seeds: tuple[int, ...] = (0,)
    """Seed of each tuning."""
    tuning: Tuning = _TUNING
    """How the model is tuned; the seed is set for each tuning."""
    task: str = "upos"
    """The task whose neurons are compared."""
    words: int = 4000
    """Number of words that are probed, and of those to measure on; whole sentences."""
    halves: int = 10
    """Half-samples, two of each division."""
    share: float = 0.1
    """Share of the neurons that count as salient."""
    l1: float = 1e-3
    l2: float = 1e-3


class Probed(NamedTuple):
    """The probe of one model."""

    ranking: Ranking
    halves: list[Ranking]
    measured: dict[str, float]
    """Accuracy of the probe, and of those trained again on the first and last neurons."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Tunes, probes, prints the tables and writes the result."""
    settings = tyro.cli(Settings, args=arguments, description="What fine-tuning moves.")
    content = study(settings)
    harness.print_table("tuning", {f"seed {one['seed']}": one["accuracy"] for one in content["tunings"]})
    states = {"before": content["before"], **{f"after, seed {seed}": one for seed, one in content["after"].items()}}
    harness.print_table("probe", {name: state["accuracy"] for name, state in states.items()})
    harness.print_table("mean layer", {name: state["centre"] for name, state in states.items()})
    harness.print_table("shift", {f"seed {seed}": one for seed, one in content["shifts"].items()})
    print(f"salient neurons move to lower layers: {content['claim']}")
    harness.write_result(settings.out, "fine_tuning", {"input": settings.names(), **content})


def study(settings: Settings) -> dict[str, Any]:
    """Returns the content of the result file, after its head."""
    base = load_model(settings.model_folder)
    treebank = read_corpus(settings.corpus_file, tasks=[settings.task])
    chosen = treebank.take_words(2 * settings.words, seed=0)
    middle = int(np.searchsorted(np.cumsum([len(sentence) for sentence in chosen.sentences]), settings.words)) + 1
    parts = chosen.take_sentences(0, middle), chosen.take_sentences(middle, chosen.sentence_count)
    tunings, tuned = zip(*(tune_once(base, settings, seed) for seed in settings.seeds), strict=True)
    before = probe(base, parts, settings)
    after = {seed: probe(model, parts, settings) for seed, model in zip(settings.seeds, tuned, strict=True)}
    moved = {
        seed: measure_relocation(
            before.ranking,
            state.ranking,
            halves_before=before.halves,
            halves_after=state.halves,
            share=settings.share,
        )
        for seed, state in after.items()
    }
    first = moved[settings.seeds[0]]
    return {
        "task": settings.task,
        "words": [part.word_count for part in parts],
        "neurons": {"all": first.axis.size, "salient": first.neurons},
        "penalty": {"l1": settings.l1, "l2": settings.l2},
        "halves": settings.halves,
        "tunings": list(tunings),
        "before": _state(before, first.layers_before.tolist(), first.centre_before._asdict()),
        "after": {
            str(seed): _state(state, moved[seed].layers_after.tolist(), moved[seed].centre_after._asdict())
            for seed, state in after.items()
        },
        "shifts": {str(seed): _shift(one) for seed, one in moved.items()},
        "claim": verdict_of([one.verdict for one in moved.values()]),
    }


def tune_once(base: Model, settings: Settings, seed: int) -> tuple[dict[str, Any], Model]:
    """Tunes with one seed, or goes on with it."""
    train, dev, test = (_sentiment(path) for path in (settings.train, settings.dev, settings.test))
    if settings.sentences is not None:
        train = train.take_sentences(0, settings.sentences)
    out = settings.work / f"tuned-{seed}"
    tuning = replace(settings.tuning, seed=seed)
    done, lap = harness.clock(lambda: tune(base, train, dev, out=out, settings=tuning, progress=True))
    best = done.history.best
    assert best is not None
    result = {
        "seed": seed,
        "sentences": {"train": train.sentence_count, "dev": dev.sentence_count, "test": test.sentence_count},
        "steps": done.history.step,
        "best_step": best.step,
        "accuracy": {"dev": best.accuracy, "test": classify(done.model, test).accuracy},
        "evaluations": done.history.table(),
        "losses": list(done.history.losses),
        "seconds": lap.wall_s,
        "cpu_s": lap.cpu_s,
    }
    return result, done.model


def probe(model: Model, parts: tuple[Corpus, Corpus], settings: Settings) -> Probed:
    """Fits the probe of a model to all words and to half-samples, and ranks the neurons by each."""
    store, other = (extract(model, part) for part in parts)
    net = ElasticNet(l1=settings.l1, l2=settings.l2)
    probes = fit_probes(store, net, tasks=[settings.task], replicates=settings.halves, kind="halves")
    ranking = rank_neurons(probes, settings.task)
    one = probes.one(settings.task)
    words = measured_words(other, probes.axis, settings.task, one.classes)
    training, count = TrainingWords.of(probes, settings.task), round(settings.share * len(ranking.columns))
    again = {
        name: float(hits_of_nested_sets(training, words, order, [count]).mean())
        for name, order in (("first", ranking.columns), ("last", ranking.columns[::-1]))
    }
    accuracy = float((one.predict(words.X) == words.gold).mean())
    return Probed(ranking, rank_samples(probes, settings.task), {"all": accuracy, **again})


def verdict_of(verdicts: Sequence[str]) -> str:
    """Returns what the seeds say together of the claim that salient neurons move to lower layers."""
    if all(verdict == "lower" for verdict in verdicts):
        return "holds"
    return "fails" if "lower" not in verdicts and "higher" in verdicts else "within noise"


def _sentiment(path: Path) -> Corpus:
    return read_corpus(path, tasks=["sentiment=1"], options=TextOptions(text_column="2"))


def _state(probed: Probed, layers: list[float], centre: dict[str, float]) -> dict[str, Any]:
    return {"accuracy": probed.measured, "layers": layers, "centre": centre}


def _shift(one: Relocation) -> dict[str, Any]:
    names = ("overlap", "chance", "ceiling", "of_ceiling")
    overlap = {name: getattr(one.overlap, name) for name in names}
    return {**one.shift._asdict(), "verdict": one.verdict, **overlap}


if __name__ == "__main__":
    main()
