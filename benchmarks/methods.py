"""Reliability beside validity of every ranking method, on two disjoint halves of a treebank and a third part.

    python -m benchmarks.methods --corpus en_ewt-ud-train.conllu.gz --out methods.json

It is `lca_jax.reliability_and_validity` on real words, with all methods of the table and two variants.
`benchmarks.reliability` compares variants of the certified ranking in the same manner. Probes are certified; the
largest duality gap is in the result. No time is measured.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import tyro

from benchmarks import harness
from benchmarks.source import ModelAndCorpus
from lca_jax.analysis.reliability_validity import reliability_and_validity
from lca_jax.extraction.extract import extract
from lca_jax.models.load import load_model
from lca_jax.probing.objective import ElasticNet
from lca_jax.ranking.methods import METHODS
from lca_jax.text.conllu import read_conllu

VARIANTS: dict[str, dict[str, object]] = {
    "lca, samples": {"method": "lca", "over": "replicates"},
    "probeless, standardised": {"method": "probeless", "standardize": True},
}
"""Rows beside the methods of the table."""


@dataclass(frozen=True, kw_only=True)
class Settings(ModelAndCorpus):
    """Settings of the benchmark."""

    out: Path
    """Where the result is written."""
    task: str = "upos"
    """Label column."""
    words: int = 5000
    """Number of words of each of the three parts, about; whole sentences."""
    replicates: int = 8
    """Number of bootstrap samples of each half, for the row over samples."""
    share: float = 0.05
    """Share of the neurons that are compared, and that probes are trained on."""
    readout: str = "linear"
    """The probe that measures."""
    l1: float = 1e-3
    l2: float = 1e-3
    seed: int = 0


def main(arguments: Sequence[str] | None = None) -> None:
    """Measures, prints the table and writes the result."""
    settings = tyro.cli(Settings, args=arguments, description="Reliability and validity of every ranking method.")
    result = measure(settings)
    rows = {
        point["method"]: {name: point[name] for name in ("overlap", "accuracy", "low", "high")}
        for point in result["points"]
    }
    harness.print_table("ranking", rows)
    harness.write_result(settings.out, "methods", {"input": settings.names(), **result})


def measure(settings: Settings) -> dict[str, Any]:
    """Returns the content of the result file, after its head."""
    corpus = read_conllu(settings.corpus_file, tasks=[settings.task])
    store = extract(load_model(settings.model_folder), corpus.take_words(3 * settings.words, seed=settings.seed))
    found = reliability_and_validity(
        store,
        settings.task,
        methods={name: {} for name in METHODS} | VARIANTS,
        share=settings.share,
        readout=settings.readout,
        settings=ElasticNet(l1=settings.l1, l2=settings.l2, seed=settings.seed),
        replicates=settings.replicates,
        seed=settings.seed,
    )
    return asdict(found)


if __name__ == "__main__":
    main()
