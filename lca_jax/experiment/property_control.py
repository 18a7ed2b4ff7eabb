"""Control of a property by the neurons of a run: they are shifted from one class towards another while the model runs.

Like ablation of the model it is no step of `lca run`: it needs a model with its head. What it measured lies in
`property_control/TASK.json` with the key of the ranking whose neurons it shifted, the last pair of classes of a task;
`results.json` and the page show it as long as the run has this ranking.
"""

from pathlib import Path
from typing import Any

from lca_jax.errors import DataError, StoreError
from lca_jax.experiment.control_settings import Control
from lca_jax.experiment.inputs import Inputs
from lca_jax.experiment.measuring import open_rankings, show_measured
from lca_jax.experiment.opening import open_model
from lca_jax.gathering.gather import gather_statistics
from lca_jax.interventions.control.answers import Answering
from lca_jax.interventions.control.lexicon import Lexicon
from lca_jax.interventions.control.predicted import PredictedWords
from lca_jax.interventions.control.property_change import PropertyControl, Share
from lca_jax.interventions.control.property_control import control_property
from lca_jax.interventions.control.written import WrittenTexts
from lca_jax.machine.progress import show_bars
from lca_jax.models.model import Model
from lca_jax.store.statistics import Gathering, Statistics
from lca_jax.store.store import ActivationStore
from lca_jax.text.corpus import Corpus
from lca_jax.text.formats import read_corpus

_SHARES = ("reached", "clean", "erased", "kept", "error_rate", "clwv", "backward")


def control(folder: Path, settings: Control, *, progress: bool = False) -> dict[str, Any]:
    """Shifts the first neurons of a run from one class towards another, and makes results and page anew.

    Missing steps up to the ranking are done first. An encoder-decoder translates the sentences of the text; a causal
    model predicts what follows each of its labelled words, a masked one the words themselves.

    Args:
        folder: The run folder.
        settings: The property, and how far neurons are shifted.
        progress: Whether to show bars on stderr.

    Returns:
        The content of `results.json`.

    Raises:
        SettingsError: The run has no such task or class, or a setting is out of range.
        DataError: The lexicon has no word of a class, or no answer shows the source class.
        ModelError: The model has no head in its checkpoint.
        LcaError: As `run`.
    """
    task = settings.task
    experiment, rankings = open_rankings(folder, task, progress=progress)
    model = open_model(experiment, head=True)
    # The activations are those of the run's model, which has no head.
    inputs = Inputs(experiment, experiment.out, progress=progress)
    corpus = inputs.corpora["test"] if settings.text is None else read_sources(model, settings.text, settings)
    corpus = corpus.take_words(settings.max_words, seed=experiment.seed)
    known = inputs.corpora["train"] if settings.lexicon is None else read_corpus(settings.lexicon, tasks=[task])
    lexicon = Lexicon.of(known, task)
    _check_classes(lexicon, known, settings)
    with show_bars(progress):
        found = control_property(
            model,
            {rankings.name: rankings.of(task)},
            _statistics(inputs.store("train"), task),
            _output(model, corpus, settings, lexicon),
            source=settings.source,
            target=settings.target,
            sizes=settings.sizes,
            strengths=settings.strengths,
            task=task,
            shift=settings.shift,
            where=settings.where,
            layers=settings.layers,
            random=settings.random,
            seed=experiment.seed,
        )
    entry = control_entry(found, text=corpus.name)
    return show_measured(experiment, "property_control", task, entry, progress=progress)


def control_entry(found: PropertyControl, *, text: str) -> dict[str, Any]:
    """Returns the `property_control` entry of a task in `results.json`."""
    return {
        "output": found.output,
        "text": text,
        "source": found.source,
        "target": found.target,
        "shift": found.shift,
        "where": found.where,
        "units": found.units,
        "target_units": found.target_units,
        "all_units": found.all_units,
        "draws": found.draws,
        "points": [
            {
                "set": point.set,
                "neurons": point.size,
                "strength": point.strength,
                **{name: _share(getattr(point, name)) for name in _SHARES},
                "quality": {
                    name: {"value": of.value, "interval": [of.low, of.high]} for name, of in point.quality.items()
                },
                "excess": point.excess,
                "excess_interval": None if point.excess is None else [point.excess_low, point.excess_high],
                "draws": list(point.draws),
                "examples": [list(example) for example in point.examples],
            }
            for point in found.points
        ],
        "claims": [
            {
                "clean": claim.clean,
                "excess": claim.excess,
                "interval": [claim.low, claim.high],
                "outcome": claim.outcome,
            }
            for claim in found.claims
        ],
    }


def _share(share: Share | None) -> dict[str, Any] | None:
    return None if share is None else {"value": share.value, "interval": [share.low, share.high]}


def _statistics(store: ActivationStore, task: str) -> Statistics:
    """Returns the means of the classes: those beside the store, or gathered from it."""
    try:
        return store.statistics()
    except StoreError:
        return gather_statistics(store, Gathering(tasks=[task], covariance=False, sample_words=0))


def read_sources(model: Model, text: Path, settings: Control) -> Corpus:
    """Reads what the model shall read; without labels where none is needed, so that it may be plain lines."""
    labelled = settings.where == "class" or model.config.decoder is None
    return read_corpus(text, tasks=[settings.task] if labelled else [])


def _check_classes(lexicon: Lexicon, known: Corpus, settings: Control) -> None:
    """Raises an error if no word form speaks for the source or the target: nothing could be counted."""
    classes = set(lexicon.classes.values())
    if missing := [name for name in (settings.source, settings.target) if name not in classes]:
        raise DataError(
            f"No word form of {known.name} speaks for `{settings.task}` {missing[0]!r}, so no answer can show it. "
            f"Classes with word forms: {', '.join(sorted(classes))}. Name another text with --lexicon."
        )


def _output(model: Model, corpus: Corpus, settings: Control, lexicon: Lexicon) -> Answering:
    if model.config.decoder is not None:
        return WrittenTexts.of(model, corpus, classify=lexicon.classify)
    return PredictedWords.of(model, corpus, settings.task, classify=lexicon.classify, masked=settings.masked)
