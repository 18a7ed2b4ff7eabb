"""Ablation of the model of a run: the neurons of a ranking are removed while the model runs over another text.

It is no step of `lca run`, since it needs a model with its head or its classifier, and texts. What it measured lies in
`model_ablation/TASK.json` with the request and the key of the ranking that it removed; `results.json` and the page show
it as long as the run has this ranking. The same request replaces itself, another one is kept beside it.
"""

from dataclasses import asdict, fields
from pathlib import Path
from typing import Any, NamedTuple

from lca_jax.axes import Layers
from lca_jax.errors import ModelError
from lca_jax.experiment.ablation_settings import ModelAblation
from lca_jax.experiment.config import Experiment
from lca_jax.experiment.inputs import Inputs
from lca_jax.experiment.last_layer import probe_of_last_layer
from lca_jax.experiment.measuring import open_rankings, show_measured
from lca_jax.experiment.opening import open_model
from lca_jax.interventions.choices import Where
from lca_jax.interventions.curve import ablation_curve
from lca_jax.interventions.effect import AblationCurve
from lca_jax.interventions.measures import Measure, read_minimal_pairs
from lca_jax.machine.json_text import as_json_has
from lca_jax.machine.progress import show_bars
from lca_jax.models.model import Model
from lca_jax.probing.probe_set import ProbeSet
from lca_jax.text.formats import read_corpus
from lca_jax.text.lines import Source

_TOLD = ("label_column", "counts", "fill", "sets", "random", "layers", "where", "max_words")
"""Settings that the name of a measurement tells where they are not the usual ones."""


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
        ModelError: The model has no head in its checkpoint or no classifier, or cannot do what is measured.
        LcaError: As `run`.
    """
    experiment, rankings = open_rankings(folder, settings.task, progress=progress)
    if settings.probe is None:
        measured = _measured_on_texts(settings, experiment)
    else:
        measured = _measured_by_probe(settings, experiment, rankings.probes, progress=progress)
    with show_bars(progress):
        curve = ablation_curve(
            measured.model,
            {rankings.name: rankings.of(settings.task)},
            measured.texts,
            settings.counts,
            sets=settings.sets,
            fill=settings.fill,
            measure=measured.measure,
            layers=measured.layers,
            where=settings.where,
            random=settings.random,
            seed=experiment.seed,
        )
    entry = {
        "name": _name(settings, curve.measure, measured.name),
        "probe": settings.probe,
        **model_ablation_entry(curve, text=measured.name, where=settings.where),
    }
    return show_measured(
        experiment, "model_ablation", settings.task, entry, request=request_of(settings), progress=progress
    )


def request_of(settings: ModelAblation) -> dict[str, Any]:
    """Returns all settings as JSON has them, with absolute paths: two requests are the same if these are."""
    asked = asdict(settings)
    paths = {name: str(value.absolute()) for name, value in asked.items() if isinstance(value, Path)}
    return as_json_has(asked | paths)


def _name(settings: ModelAblation, measure: str, text: str) -> str:
    """Says what was measured, and which settings are not the usual ones: `perplexity a word of dev.txt (random 9)`."""
    asked, told = request_of(settings), []
    for field in fields(settings):
        value = asked[field.name]
        if field.name in _TOLD and value != as_json_has(field.default):
            listed = " ".join(map(str, value)) if isinstance(value, list) else value
            told.append(f"{field.name.replace('_', ' ')} {listed}")
    return f"{measure} of {text}" + (f" ({', '.join(told)})" if told else "")


def model_ablation_entry(curve: AblationCurve, *, text: str, where: Where) -> dict[str, Any]:
    """Returns the `model_ablation` entry of a task in `results.json`, without its name and the task of a probe."""
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


class _Measured(NamedTuple):
    """What a curve is made of."""

    model: Model
    measure: str | Measure
    texts: Any
    """What a measure that is named is made of."""
    name: str
    """Base name of the file of the texts."""
    layers: Layers
    """Layers whose neurons are removed."""


def _measured_by_probe(
    settings: ModelAblation, experiment: Experiment, probes: ProbeSet, *, progress: bool
) -> _Measured:
    assert settings.probe is not None
    inputs = Inputs(experiment, experiment.out, progress=progress)
    measure, below = probe_of_last_layer(experiment, inputs, probes, settings.probe, max_words=settings.max_words)
    layers = below if settings.layers is None else settings.layers
    return _Measured(inputs.model, measure, None, measure.corpus.name, layers)


def _measured_on_texts(settings: ModelAblation, experiment: Experiment) -> _Measured:
    limit, layers = settings.max_words, settings.layers
    model = open_model(experiment, head=settings.classified is None)
    if settings.pairs is not None:
        return _Measured(
            model, "minimal-pairs", read_minimal_pairs(settings.pairs)[:limit], settings.pairs.name, layers
        )
    if settings.translations is not None:
        pairs = _read_translations(settings.translations)[:limit]
        return _Measured(model, settings.metric, pairs, settings.translations.name, layers)
    place = settings.text or settings.classified
    assert place is not None
    tasks = [] if settings.classified is None else [_classified_task(settings, model)]
    corpus = read_corpus(place, tasks=tasks, options=settings.texts)
    corpus = corpus if limit is None else corpus.take_words(limit, seed=experiment.seed)
    return _Measured(model, "classifier" if tasks else "perplexity", corpus, place.name, layers)


def _classified_task(settings: ModelAblation, model: Model) -> str:
    """Returns the task of the model's classifier, with the column of its labels."""
    if model.classifier is None:
        raise ModelError(
            f"{model.name} has no classifier, so `classified` measures nothing. Use a run of a model from `lca tune`."
        )
    task = model.classifier.task
    return task if settings.label_column is None else f"{task}={settings.label_column}"


def _read_translations(path: Path) -> list[tuple[str, str]]:
    source = Source.read(path)
    source.refuse_problems()
    pairs = []
    for number, line in enumerate(source.lines, 1):
        if not line.strip():
            continue
        written, _, reference = line.partition("\t")
        reference = reference.partition("\t")[0]
        if not written.strip() or not reference.strip():
            source.report(number, "must be a source, a tab and a reference")
        pairs.append((written, reference))
    source.refuse_problems()
    return pairs
