r"""Times the description of all neurons of a model by sentences, step by step, each checked beside it.

    python -m benchmarks.bench_descriptions --explained minilm-l6 --generator smollm2-135m --embedder me5-small \
        --reviews product-reviews.jsonl.gz --work WORK --out bench-descriptions.json

Steps: what the generator writes of every sentence, with clusters and presence (`find`), matching with bounds by
permutation (`describe`), and scores on the half that made nothing: `simulation` of all described neurons, `detection`
by the generator of `--judged` of them. Each is called once, and compiling stands apart; nothing written before is read.

The floor of writing is its products: twice the parameters of the generator for every piece that is read or written
(own pieces of a sentence once, those of its answers once a sample), at the measured matrix peak. Matching is one
product of (neuron × sentence) by (sentence × descriptor) for the data and for each permutation.

The check: r of drawn pairs of a neuron and a descriptor, in float64.
"""

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import jax
import numpy as np
import tyro

from benchmarks import harness
from benchmarks.descriptions import Settings as Compared
from benchmarks.descriptions import Study, describe, find_by, read_reviews
from lca_jax.descriptors.describing import Descriptions
from lca_jax.descriptors.generators import LINES
from lca_jax.descriptors.scoring import score_descriptions
from lca_jax.descriptors.texts import texts_of_store
from lca_jax.models.load import load_model
from lca_jax.models.model import Model

_CHECKED = 50


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Settings of the benchmark."""

    explained: Path
    """Folder of the model whose neurons are described."""
    generator: Path
    """Folder of the causal model that writes."""
    embedder: Path
    """Folder of the model of texts."""
    reviews: Path
    """The reviews, JSON lines."""
    out: Path
    sentences: int = 1000
    samples: int = 2
    judged: int = 50
    """Number of neurons whose descriptions the generator judges."""
    permutations: int = 200
    seed: int = 0


def main(arguments: Sequence[str] | None = None) -> None:
    """Measures, prints the table and writes the result."""
    settings = tyro.cli(Settings, args=arguments, description="What describing all neurons costs.")
    with tempfile.TemporaryDirectory() as work:
        result = measure(settings, Path(work))
    harness.print_table("step", result["steps"])
    harness.write_result(settings.out, "bench_descriptions", result)


def measure(settings: Settings, work: Path) -> dict:
    """Returns the content of the result file, after its head."""
    asked = Compared(
        explained=settings.explained,
        work=work,
        out=settings.out,
        reviews=settings.reviews,
        read=settings.sentences,
        samples=settings.samples,
        permutations=settings.permutations,
        seed=settings.seed,
    )
    study = read_reviews(asked, load_model(settings.explained))
    texts = texts_of_store(study.store, count=settings.sentences, seed=settings.seed)
    study = replace(study, texts=texts)
    generator, embedder = load_model(settings.generator, head=True), load_model(settings.embedder)
    found, finding = harness.clock(lambda: find_by(study, asked, generator, embedder, "carried", work / "found"))
    told, describing = harness.clock(lambda: describe(study, found, asked))
    scores, scoring = harness.clock(lambda: score_descriptions(told))
    judged, judging = harness.clock(
        lambda: score_descriptions(told, scorer="detection", judge=generator, neurons=settings.judged)
    )
    error = check(told, seed=settings.seed)
    floor = harness.measure_machine().floor_s(flop=writing_operations(generator, study, samples=settings.samples))
    return {
        "input": {
            "explained": settings.explained.name,
            "generator": settings.generator.name,
            "embedder": settings.embedder.name,
            "sentences": len(texts.texts),
            "neurons": told.axis.size,
            "descriptors": len(found.names),
            "described": len(told.described),
        },
        "load": harness.load_average(),
        "steps": {
            "find": finding._asdict(),
            "describe": describing._asdict(),
            "score by simulation, all": scoring._asdict(),
            f"score by detection, {len(judged.columns)}": judging._asdict(),
        },
        "all_s": finding.wall_s + describing.wall_s + scoring.wall_s + judging.wall_s,
        "writing_floor_s": floor,
        "error": error,
        "auc": {"simulation": float(np.nanmean(scores.auc)), "null": scores.null_auc},
        "detection": {"auc": float(np.nanmean(judged.auc)), "null": judged.null_auc},
    }


def writing_operations(generator: Model, study: Study, *, samples: int) -> float:
    """Returns the operations of the products that writing needs at least, with answers of half the longest length."""
    pieces = sum(len(ids) for ids in generator.tokenizer(list(study.texts.texts))["input_ids"])
    pieces += len(study.texts.texts) * samples * LINES.longest // 2
    return 2.0 * sum(part.size for part in jax.tree.leaves(generator.params)) * pieces


def check(told: Descriptions, *, seed: int) -> float:
    """Returns the largest error of r among drawn pairs of a neuron and a descriptor.

    Raises:
        ArithmeticError: It is above 1e-4.
    """
    rng = np.random.default_rng(seed)
    columns = rng.choice(told.described, min(_CHECKED, len(told.described)), replace=False)
    numbers = rng.integers(0, len(told.found.names), len(columns))
    X = told.activations[told.half_a].astype(np.float64)
    presence = told.found.presence[told.half_a].astype(np.float64)
    plain = [np.corrcoef(X[:, column], presence[:, one])[0, 1] for column, one in zip(columns, numbers, strict=True)]
    error = float(np.abs(told.matched.r[columns, numbers] - plain).max())
    if error > 1e-4:
        raise ArithmeticError(f"r is off by {error:.1e}")
    return error


if __name__ == "__main__":
    main()
