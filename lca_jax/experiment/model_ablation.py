"""Ablation of the model of a run: the neurons of a ranking are removed while the model runs over another text.

It is no step of `lca run`, since it needs a model with its head, and a text or pairs. What it measured lies in
`model_ablation/TASK.json` with the key of the ranking that it removed; `results.json` and the page show it as long as
the run has this ranking.
"""

from dataclasses import asdict
from pathlib import Path
from typing import Any

from lca_jax.errors import CorpusError, DataError
from lca_jax.experiment.ablation_settings import ModelAblation
from lca_jax.experiment.config import Experiment
from lca_jax.experiment.measuring import open_rankings, show_measured
from lca_jax.experiment.opening import open_model
from lca_jax.interventions.choices import Where
from lca_jax.interventions.curve import ablation_curve
from lca_jax.interventions.effect import AblationCurve
from lca_jax.interventions.measures import read_minimal_pairs
from lca_jax.machine.progress import show_bars
from lca_jax.text.formats import read_corpus
from lca_jax.text.lines import Source
from lca_jax.text.options import TextOptions


def ablate_model(folder: Path, settings: ModelAblation, *, progress: bool = False) -> dict[str, Any]:
    """Measures the model of a run without the neurons of one of its rankings, and makes results and page anew.

    Missing steps up to the ranking are done first.

    Args:
        folder: The run folder.
        settings: What is removed and measured.
        progress: Whether to show bars on stderr.

    Returns:
        The content of `results.json`.

    Raises:
        SettingsError: The run has no such task, or a setting is out of range.
        ModelError: The model has no head in its checkpoint, or cannot do what is measured.
        LcaError: As `run`.
    """
    experiment, rankings = open_rankings(folder, settings.task, progress=progress)
    measure, texts, name = _texts(settings, experiment)
    with show_bars(progress):
        curve = ablation_curve(
            open_model(experiment, head=True),
            {rankings.name: rankings.of(settings.task)},
            texts,
            settings.counts,
            sets=settings.sets,
            fill=settings.fill,
            measure=measure,
            layers=settings.layers,
            where=settings.where,
            random=settings.random,
            seed=experiment.seed,
        )
    entry = model_ablation_entry(curve, text=name, where=settings.where)
    return show_measured(experiment, "model_ablation", settings.task, entry, progress=progress)


def model_ablation_entry(curve: AblationCurve, *, text: str, where: Where) -> dict[str, Any]:
    """Returns the `model_ablation` entry of a task in `results.json`."""
    return {
        "measure": curve.measure,
        "text": text,
        "where": where,
        "sentences": curve.sentences,
        "lost": curve.lost,
        "draws": curve.draws,
        "whole": curve.whole,
        "whole_interval": [curve.whole_low, curve.whole_high],
        "whole_by_group": dict(curve.whole_by_group),
        "layer_names": list(curve.layers),
        "points": [
            {
                "set": point.set,
                "fill": point.fill,
                "neurons": point.count,
                "value": point.value,
                "interval": [point.low, point.high],
                "change": point.change,
                "change_interval": [point.change_low, point.change_high],
                "draws": list(point.draws),
                "layers": list(point.layers),
                "by_group": dict(point.by_group),
            }
            for point in curve.points
        ],
        "claims": [
            {name: value for name, value in asdict(claim).items() if name not in ("ranking", "low", "high")}
            | {"interval": [claim.low, claim.high]}
            for claim in curve.claims
        ],
    }


def _texts(settings: ModelAblation, experiment: Experiment) -> tuple[str, Any, str]:
    """Returns the measure, what it is made of, and the name of its file."""
    limit = settings.max_words
    if settings.pairs is not None:
        return "minimal-pairs", read_minimal_pairs(settings.pairs)[:limit], settings.pairs.name
    if settings.translations is not None:
        return settings.metric, _read_translations(settings.translations)[:limit], settings.translations.name
    assert settings.text is not None
    corpus = read_corpus(settings.text, options=TextOptions())
    corpus = corpus if limit is None else corpus.take_words(limit, seed=experiment.seed)
    return "perplexity", corpus, settings.text.name


def _read_translations(path: Path) -> list[tuple[str, str]]:
    source = Source.read(path)
    source.refuse_problems()
    pairs = [tuple(line.split("\t")[:2]) for line in source.lines if line.strip()]
    for number, pair in enumerate(pairs, 1):
        if len(pair) < 2 or not all(part.strip() for part in pair):
            raise CorpusError(f"{path}, line {number}: a pair must be a source, a tab and a reference.")
    if not pairs:
        raise DataError(f"{path} has no pair of source and reference.")
    return [(source, reference) for source, reference in pairs]
