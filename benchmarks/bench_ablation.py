r"""Ablation curves of real models: do neurons that a probe finds matter to the model, and what does a curve cost?

    python -m benchmarks.bench_ablation --model tinystories-260k --corpus en_ewt-ud-train.conllu.gz \
        --text wikitext2-test.txt.gz --text-words 2000 --out ablation.json
    python -m benchmarks.bench_ablation --model marian-tiny-en-pt --corpus en_ewt-ud-train.conllu.gz \
        --pairs por.tsv.gz --count 100 --measures bleu chrf --out ablation.json
    python -m benchmarks.bench_ablation --model tuned --corpus sst2-train.tsv --task sentiment=1 --text-column 2 \
        --classified sst2-test.tsv --measures classifier --out ablation.json

Rankings are made on a part of the corpus: LCA, Probeless and variance. Each is removed from the running model, top,
random, matched and bottom sets, set to zero and to their means. The result has every curve as `AblationCurve.to_dict`
returns it, with its claims marked, as they come out; nothing is tuned. For perplexities `cost` has the seconds of a
point and those of one run of model and head on the same rows, in interleaved rounds, and the temporary memory of both.
"""

import gzip
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import numpy as np
import tyro

from benchmarks import harness
from benchmarks.source import ModelAndCorpus
from lca_jax.axes import NeuronAxis
from lca_jax.extraction.extract import extract
from lca_jax.interventions.choices import Where
from lca_jax.interventions.curve import ablation_curve
from lca_jax.interventions.measures import Perplexity
from lca_jax.interventions.points import run_points
from lca_jax.interventions.sets import Order, Span
from lca_jax.models.load import load_model
from lca_jax.models.model import Model
from lca_jax.probing.fit import fit_probes
from lca_jax.probing.objective import ElasticNet
from lca_jax.ranking.lca import rank_neurons
from lca_jax.ranking.probeless import rank_by_means
from lca_jax.ranking.ranking import Ranking
from lca_jax.ranking.variance import rank_by_variance
from lca_jax.store.statistics import Gathering
from lca_jax.text.columns import read_text
from lca_jax.text.corpus import Corpus
from lca_jax.text.formats import read_corpus
from lca_jax.text.options import TextOptions


@dataclass(frozen=True, kw_only=True)
class Settings(ModelAndCorpus):
    """Settings of the benchmark."""

    out: Path
    """Where the result is written."""
    task: str = "upos"
    """Label column of the rankings."""
    words: int = 4000
    """Number of words that rankings are made of; with labels of sentences, of the words in them."""
    l1: float = 1e-3
    l2: float = 1e-2
    text: Path | None = None
    """Text whose perplexity is measured, one sentence a line."""
    text_words: int = 2000
    """Number of words of it, whole lines, drawn by the seed."""
    pairs: Path | None = None
    """Pairs of a reference and a source, with a tab between them, for translations."""
    count: int = 100
    """Number of pairs: the first ones of `least` to `most` source words."""
    least: int = 4
    most: int = 12
    classified: Path | None = None
    """Texts with labels of `task`, for the classifier of a model from `lca tune`; `text_words` limits them."""
    text_column: str | None = None
    """Column of the texts in `corpus` and `classified`, where there is a text a row."""
    measures: tuple[str, ...] = ("perplexity",)
    counts: tuple[int, ...] = (5, 10, 20, 40, 80)
    """Numbers of neurons that are removed."""
    sets: tuple[str, ...] = ("top", "random", "matched", "bottom")
    random: int = 5
    where: Where = "all"
    seed: int = 0
    slots: int = 1024


def main(arguments: Sequence[str] | None = None) -> None:
    """Measures, prints the claims and writes the result."""
    settings = tyro.cli(Settings, args=arguments, description="What a model loses without the neurons of a ranking.")
    result = measure(settings)
    for name, curve in result["curves"].items():
        rows = {
            f"{claim['ranking']}, {claim['fill']}: {claim['stronger']} > {claim['weaker']}": {
                key: claim[key] for key in ("excess", "low", "high", "outcome")
            }
            for claim in curve["claims"]
        }
        harness.print_table(f"{name}, {curve['whole']:.4g} as it is", rows)
    harness.write_result(settings.out, "ablation", {"input": settings.names(), **result})


def measure(settings: Settings) -> dict[str, Any]:
    """Returns the content of the result file, after its head."""
    model = load_model(settings.model_folder, head=settings.classified is None)
    rankings, facts = rank(settings, model)
    curves, seconds = {}, {}
    for name in settings.measures:
        texts = read_texts(settings)
        curve, lap = harness.clock(
            lambda name=name, texts=texts: ablation_curve(
                model,
                rankings,
                texts,
                settings.counts,
                sets=settings.sets,  # pyright: ignore[reportArgumentType] - names from the command line
                measure=name,
                where=settings.where,
                random=settings.random,
                seed=settings.seed,
                slots=settings.slots,
            )
        )
        curves[name] = curve.to_dict()
        seconds[name] = {"wall_s": lap.wall_s, "cpu_s": lap.cpu_s, "compile_s": lap.compile_s}
    cost = None
    if settings.text is not None:
        axis = next(iter(rankings.values())).axis
        cost = measure_cost(model, axis, Perplexity.of(model, read_texts(settings), slots=settings.slots))
    return {"rankings": facts, "where": settings.where, "curves": curves, "seconds": seconds, "cost": cost}


def rank(settings: Settings, model: Model) -> tuple[dict[str, Ranking], dict[str, object]]:
    """Returns rankings of the residual neurons by three methods, and what they were made of."""
    corpus = read_labelled(settings, settings.corpus_file).take_words(settings.words, seed=settings.seed)
    (task,) = corpus.sentence_tasks or corpus.tasks
    pool = "sentence-mean" if corpus.sentence_tasks else "last"
    gathering = Gathering(tasks=[task], covariance=False, sample_words=0)
    store = extract(model, corpus, pool=pool, statistics=gathering)
    probes = fit_probes(store, ElasticNet(l1=settings.l1, l2=settings.l2), tasks=[task])
    rankings = {
        "lca": rank_neurons(probes, task),
        "probeless": rank_by_means(store.statistics(), task),
        "variance": rank_by_variance(store.statistics()),
    }
    probe = probes.one(task)
    facts = {
        "task": task,
        "words": probe.words,
        "neurons": probes.axis.size,
        "l1": settings.l1,
        "l2": settings.l2,
        "gap": probe.duality_gap / probe.null_objective,
    }
    return rankings, facts


def read_texts(settings: Settings) -> Corpus | list[tuple[str, str]]:
    """Returns the text, labelled texts, or pairs of source and reference."""
    if settings.classified is not None:
        return read_labelled(settings, settings.classified).take_words(settings.text_words, seed=settings.seed)
    if settings.text is not None:
        return read_text(settings.text).take_words(settings.text_words, seed=settings.seed)
    assert settings.pairs is not None, "give --text, --classified or --pairs"
    with gzip.open(settings.pairs, "rt", encoding="utf-8") as lines:
        cut = [line.rstrip("\n").split("\t")[:2] for line in lines]
    pairs = [(source, reference) for reference, source in cut]
    return [pair for pair in pairs if settings.least <= len(pair[0].split()) <= settings.most][: settings.count]


def read_labelled(settings: Settings, file: Path) -> Corpus:
    """Returns texts with labels of the task."""
    return read_corpus(file, tasks=[settings.task], options=TextOptions(text_column=settings.text_column))


def measure_cost(model: Model, axis: NeuronAxis, perplexity: Perplexity, *, points: int = 4) -> Mapping[str, object]:
    """Times a point of a curve beside one run of model and head on the same rows, without edits."""
    (rows, *_) = perplexity.batches
    one = Perplexity(text=perplexity.text.__class__(batches=(rows,), words=perplexity.text.words, left_out=0))
    order = Order(ranking="any", set="top", draw=0, columns=np.arange(axis.size))
    spans = [Span(first=0, last=count + 1) for count in range(points - 1)]
    fills = np.zeros((1, axis.size), np.float32)
    forward = jax.jit(lambda params, batch: model.log_probabilities(params, batch))
    timings, _ = harness.time_interleaved(
        {
            "points": lambda: run_points(model, one, axis, [order], spans, fills),
            "forward": lambda: forward(model.params, rows.batch),
        },
        repetitions=5,
    )
    ratio = [both[0] / points / both[1] for both in zip(timings["points"].cpu_s, timings["forward"].cpu_s, strict=True)]
    analysis = forward.lower(model.params, rows.batch).compile().memory_analysis()
    return {
        "slots": int(np.size(rows.sentences)),
        "points": points,
        "point_over_forward": float(np.median(ratio)),
        "rounds": ratio,
        "forward_temporary_bytes": None if analysis is None else analysis.temp_size_in_bytes,
        "timings": {name: timing.as_json() for name, timing in timings.items()},
    }


if __name__ == "__main__":
    main()
