"""What fine-tuning moves: a model tuned on up to three tasks, and where salient neurons sit before and after.

    python -m benchmarks.fine_tuning --sentiment sentiment/ --acceptability blimp.jsonl.gz --chunks conll2000/ \
        --corpus en_ewt-ud-train.conllu.gz --work WORK --out fine-tuning.json

For every tuning (`benchmarks/tuned_texts.py`) and seed the model is tuned in a folder of WORK. The words of the
treebank are extracted from the untuned and from each tuned model; for every probed task one certified probe each is
fitted to all words and to complementary half-samples, the same ones for every model. The neurons are ranked by
`bagged`, as runs do, and by `lca`, the papers' order. Every piece is kept in WORK when it is done: a program that was
killed goes on there.

The result has

- `tunings`: accuracy on dev (where the step was chosen) and test, loss by step, seconds since the last start; `torch`:
  the same of PyTorch by the same recipe;
- `before` and, by tuning and seed, `after`: accuracy of the probe on other sentences; of probes trained again on the
  first and on the last tenth of the ranking; of probes of the lowest layers alone, up to each; by ranking, the salient
  neurons in each layer and their mean layer with its interval;
- `shifts` by task, tuning and ranking: the move of the mean layer for each seed and over the seeds, the overlap with
  before, its ceiling, chance, the overlap between seeds, and the `claim` (`relocated.py` says when it holds).
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import tyro

from benchmarks import harness, tuned_texts
from benchmarks.relocated import RANKINGS, Probed, compare, measure_parts
from benchmarks.source import ModelAndCorpus
from benchmarks.tuning_torch import tune_with_torch
from lca_jax.extraction.extract import extract
from lca_jax.models.load import load_model
from lca_jax.models.model import Model
from lca_jax.probing.fit import fit_probes
from lca_jax.probing.objective import ElasticNet
from lca_jax.probing.probe_set import load_probes
from lca_jax.text.corpus import Corpus
from lca_jax.text.formats import read_corpus
from lca_jax.training.classify import classify
from lca_jax.training.settings import Tuning
from lca_jax.training.tune import tune

_TUNING = Tuning(epochs=2, rate=1e-4, evaluate_every=72, checkpoint_every=72)

Seeds = dict[int, dict[str, Probed]]
"""By seed of a tuning and by task."""


@dataclass(frozen=True, kw_only=True)
class Settings(ModelAndCorpus):
    """Settings of the benchmark."""

    sentiment: Path | None = None
    """Folder of SST-2; None for no such tuning."""
    acceptability: Path | None = None
    """File of minimal pairs; None for no such tuning."""
    chunks: Path | None = None
    """Folder of CoNLL-2000; None for no such tuning."""
    work: Path
    """Folder of the pieces."""
    out: Path
    """Where the result is written."""
    sentences: int | None = None
    """Training sentences of each tuning at most; None for the numbers of `tuned_texts.READERS`."""
    sentiment_seeds: tuple[int, ...] = (0, 1, 2)
    """Seeds with which it is tuned for sentiment."""
    acceptability_seeds: tuple[int, ...] = (0, 1, 2)
    """The same for acceptability."""
    chunks_seeds: tuple[int, ...] = (0, 1, 2)
    """The same for chunks."""
    torch_seeds: tuple[int, ...] = ()
    """Seeds with which PyTorch tunes for sentiment by the same recipe."""
    tuning: Tuning = _TUNING
    """How the model is tuned; the seed is set for each tuning."""
    tasks: tuple[str, ...] = ("upos", "feats:Number")
    """The tasks whose neurons are compared."""
    words: int = 5000
    """Number of words that are probed, and of those to measure on; whole sentences."""
    halves: int = 10
    """Half-samples, two of each division."""
    share: float = 0.1
    """Share of the neurons that count as salient."""
    l1: float = 1e-3
    l2: float = 1e-1

    def texts(self) -> dict[str, tuned_texts.Parts]:
        """Returns the texts of every tuning that was asked for."""
        return {
            name: reader(path, limit if self.sentences is None else self.sentences)
            for name, (reader, limit) in tuned_texts.READERS.items()
            if (path := getattr(self, name)) is not None
        }

    def probed_words(self) -> tuple[Corpus, Corpus]:
        """Returns the words that are probed and those that are measured: different sentences, drawn by the seed 0."""
        chosen = read_corpus(self.corpus_file, tasks=self.tasks).take_words(2 * self.words, seed=0)
        middle = int(np.searchsorted(np.cumsum([len(sentence) for sentence in chosen.sentences]), self.words)) + 1
        return chosen.take_sentences(0, middle), chosen.take_sentences(middle, chosen.sentence_count)


def main(arguments: Sequence[str] | None = None) -> None:
    """Tunes, probes, prints the tables and writes the result, as far as it is, after every tuning."""
    settings = tyro.cli(Settings, args=arguments, description="What fine-tuning moves.")
    content: dict[str, Any] = {}
    for content in study(settings):
        harness.write_result(settings.out, "fine_tuning", {"input": settings.names(), **content})
    harness.print_table("tuning", {f"{one['on']}, seed {one['seed']}": one["accuracy"] for one in content["tunings"]})
    for task, of_task in content["shifts"].items():
        rows = {f"{on}, {by}": one["over_seeds_and_words"] for on, of in of_task.items() for by, one in of.items()}
        harness.print_table(f"{task}: shift of the mean layer", rows)


def study(settings: Settings) -> Iterator[dict[str, Any]]:
    """Yields the content of the result file, after its head, as far as it is: once more after every tuning."""
    base, texts, parts = load_model(settings.model_folder), settings.texts(), settings.probed_words()
    before = probe(settings, "before", parts, lambda: base)
    tunings: list[dict[str, Any]] = []
    after: dict[str, Seeds] = {}
    for name, of_tuning in texts.items():
        for seed in getattr(settings, f"{name}_seeds"):
            tunings.append(tune_once(settings, base, name, of_tuning, seed))
            tuned = settings.work / f"{name}-{seed}"
            probed = probe(settings, f"{name}-{seed}", parts, lambda tuned=tuned: load_model(tuned))
            after.setdefault(name, {})[seed] = probed
            yield _content(settings, parts, tunings, before, after)
    content = _content(settings, parts, tunings, before, after)
    yield {**content, "torch": [torch_once(settings, texts["sentiment"], seed) for seed in settings.torch_seeds]}


def _content(
    settings: Settings,
    parts: tuple[Corpus, Corpus],
    tunings: list[dict[str, Any]],
    before: dict[str, Probed],
    after: dict[str, Seeds],
) -> dict[str, Any]:
    share, axis = settings.share, before[settings.tasks[0]].whole[RANKINGS[0]].axis
    return {
        "words": [part.word_count for part in parts],
        "neurons": {"all": axis.size, "salient": round(share * axis.size)},
        "penalty": {"l1": settings.l1, "l2": settings.l2},
        "halves": settings.halves,
        "tuning": {"epochs": settings.tuning.epochs, "rate": settings.tuning.rate, "batch": settings.tuning.batch},
        "tunings": list(tunings),
        "torch": [],
        "before": {task: one.state(share) for task, one in before.items()},
        "after": {
            name: {str(seed): {task: one.state(share) for task, one in of.items()} for seed, of in seeds.items()}
            for name, seeds in after.items()
        },
        "shifts": {task: compare_task(before[task], after, task, share) for task in settings.tasks},
    }


def compare_task(before: Probed, after: dict[str, Seeds], task: str, share: float) -> dict[str, Any]:
    """Compares one task before with the same after every tuning, by both rankings."""
    return {
        name: {by: compare(before, {seed: of[task] for seed, of in seeds.items()}, by, share) for by in RANKINGS}
        for name, seeds in after.items()
    }


def tune_once(settings: Settings, base: Model, name: str, texts: tuned_texts.Parts, seed: int) -> dict[str, Any]:
    """Tunes on one task with one seed, or goes on with it."""

    def make() -> dict[str, Any]:
        out, tuning = settings.work / f"{name}-{seed}", replace(settings.tuning, seed=seed)
        done, lap = harness.clock(lambda: tune(base, texts.train, texts.dev, out=out, settings=tuning, progress=True))
        best = done.history.best
        assert best is not None  # there are dev texts
        return {
            "on": name,
            "seed": seed,
            "sentences": {part: corpus.sentence_count for part, corpus in texts._asdict().items()},
            "steps": done.history.step,
            "best_step": best.step,
            "accuracy": {"dev": best.accuracy, "test": classify(done.model, texts.test).accuracy},
            "evaluations": done.history.table(),
            "losses": list(done.history.losses),
            "seconds": lap.wall_s,
            "cpu_s": lap.cpu_s,
        }

    return harness.kept(settings.work / f"tuning-{name}-{seed}.json", make)


def torch_once(settings: Settings, texts: tuned_texts.Parts, seed: int) -> dict[str, Any]:
    """Tunes with PyTorch by the same recipe, or reads what that gave."""
    tuning = replace(settings.tuning, seed=seed)
    file = settings.work / f"torch-{seed}.json"
    return harness.kept(file, lambda: tune_with_torch(settings.model_folder, texts, tuning))


def probe(settings: Settings, name: str, parts: tuple[Corpus, Corpus], model: Callable[[], Model]) -> dict[str, Probed]:
    """Fits the probes of a model to all words and to half-samples, or reads them, and ranks the neurons by each."""
    folder = settings.work / f"probes-{name}"

    def make() -> dict[str, Any]:
        loaded = model()
        store, other = (extract(loaded, part) for part in parts)
        net = ElasticNet(l1=settings.l1, l2=settings.l2)
        probes = fit_probes(store, net, tasks=settings.tasks, replicates=settings.halves, kind="halves", control=False)
        probes.save(folder)
        return {task: measure_parts(probes, other, task, settings.share) for task in settings.tasks}

    accuracies = harness.kept(settings.work / f"accuracy-{name}.json", make)
    probes = load_probes(folder)
    return {task: Probed.of(probes, task, accuracies[task]) for task in settings.tasks}


if __name__ == "__main__":
    main()
