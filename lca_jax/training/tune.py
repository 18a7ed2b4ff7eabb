"""Fine-tuning: a model and a new classifier are trained together on the labels of one task.

The parameters of the best dev accuracy are kept, the first of equal ones; without dev texts those of the last step. All
of it follows from model, texts and settings: on the same devices, the same call gives the same parameters, also where
it was killed and started again. Memory: beside the model four float32 copies of what is trained (parameters, two
moments, gradient), and one more with dev texts.

Reference: Devlin et al. 2019, section 4; Durrani et al. 2021 and 2023 (section 5.4) tune models so before they probe
them.
"""

import logging
from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import asdict, dataclass, replace
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import PyTree

from lca_jax.errors import DataError, SettingsError
from lca_jax.machine.devices import default_device
from lca_jax.machine.progress import Progress
from lca_jax.models.classifier import Classifier
from lca_jax.models.load import load_model
from lca_jax.models.model import Model
from lca_jax.models.stack.config import StackConfig
from lca_jax.text.corpus import Corpus
from lca_jax.training.batches import Shapes, batches_an_epoch, make_batch, split_order
from lca_jax.training.checkpoints import Checkpoint, TuningFolder, tuning_folder
from lca_jax.training.history import Evaluation, History
from lca_jax.training.measuring import measure
from lca_jax.training.settings import Tuning, rate_of_step
from lca_jax.training.step import Plan, State, Trained, join_params, split_params, start_state, train_step
from lca_jax.training.texts import Texts, read_texts, reading_of, task_of

_log = logging.getLogger(__name__)
_DEFAULTS = Tuning()
_NO_RESULT = ("checkpoint_every",)
"""Settings that change no result."""


@dataclass(frozen=True, kw_only=True)
class Tuned:
    """A tuned model."""

    model: Model
    """The model with its `classifier`; its fingerprint is that of its new parameters."""
    history: History
    """The loss of every step, and the measurements on the dev texts."""
    skipped: Mapping[str, int]
    """Number of training units that were not counted, by reason."""


def tune(
    model: Model,
    corpus: Corpus,
    dev: Corpus | None = None,
    *,
    task: str | None = None,
    out: str | Path | None = None,
    settings: Tuning = _DEFAULTS,
    progress: bool = False,
) -> Tuned:
    """Tunes a model to classify sentences, pairs of texts, or words.

    Args:
        model: The model, on one device and without its language head.
        corpus: Training texts; a corpus of pairs gives pairs.
        dev: Texts to choose the best step on, and to stop early; None to train to the end.
        task: The task; None for the only one.
        out: Folder of checkpoints and of the tuned model, which `load_model` opens; a tuning that was begun there goes
            on. None to keep nothing.
        settings: How it is tuned.
        progress: Whether to show a bar on stderr.

    Raises:
        SettingsError: There is no such task, `pool` does not fit it, the model has a language head or is split over
            devices, or the folder holds something else.
        StoreError: Another process tunes in the folder.
        DataError: The training texts have fewer than two classes, the dev texts none of them, or the loss is not
            finite.
    """
    task = task_of(corpus, task)
    pool, classes = reading_of(corpus, task, settings.pool), corpus.classes(task)
    _refuse(model, corpus, task, classes)
    opened = nullcontext() if out is None else tuning_folder(out, _identity(model, corpus, dev, task, settings))
    with opened as folder:
        texts = read_texts(model, corpus, task, classes=classes, pool=pool)
        if folder is not None and folder.ended is not None:
            _log.info("%s: tuned already, %d steps", folder.folder, folder.ended.step)
            return Tuned(model=load_model(folder.folder), history=folder.ended, skipped=texts.skipped)
        dev_texts = None if dev is None else read_texts(model, dev, task, classes=classes, pool=pool)
        run = _Run(model, texts, dev_texts, len(classes), settings)
        arrays, history = run.to_end(folder, progress=progress)
        tuned = _finished(model, run.params(arrays), Classifier(task=task, classes=classes, pool=pool, params={}))
        if folder is not None:
            folder.check()
            tuned.save(folder.folder)
            folder.end(history)
    return Tuned(model=tuned, history=history, skipped=texts.skipped)


class _Run:
    """One tuning while it goes on."""

    def __init__(self, model: Model, texts: Texts, dev: Texts | None, classes: int, settings: Tuning) -> None:
        self.texts, self.dev, self.settings = texts, dev, settings
        config = replace(model.config, dtype=settings.dtype)
        self.plan = Plan.of(config, settings)
        stack, self.kept = split_params(model.params, config, settings.frozen)
        parts = [texts] if dev is None else [texts, dev]
        self.shapes = Shapes.plan(parts, windows=settings.batch, seed=settings.seed)
        # Every step of an epoch takes its part of one order.
        self.order_of = lru_cache(maxsize=1)(partial(split_order, texts, self.shapes, seed=settings.seed))
        self.epoch_steps = batches_an_epoch(texts, self.shapes)
        self.steps = settings.epochs * self.epoch_steps
        self.key, key = jax.random.split(jax.random.key(settings.seed))
        head = _draw_classifier(config, classes, key)
        # Bound to its device from the start, as every later state is: else the second step would be compiled again.
        self.start = jax.device_put(start_state({"stack": stack, "classifier": head}, self.plan), default_device())

    def to_end(self, folder: TuningFolder | None, *, progress: bool) -> tuple["_Arrays", History]:
        """Does all steps from the last checkpoint on; returns the arrays and the history after the last one."""
        arrays = _Arrays(self.start, None if self.dev is None else jax.tree.map(jnp.copy, self.start.trained))
        history = History()
        if folder is not None and (found := folder.last_checkpoint(arrays.tree())) is not None:
            arrays, history = _Arrays(*found.arrays), found.history
            _log.info("%s: goes on after %d of %d steps", folder.folder, history.step, self.steps)
        with Progress(total=self.steps, done=history.step, unit="step", bar=progress) as bar:
            while history.step < self.steps and history.without_gain < self.settings.patience:
                arrays, history = self._to_next_stop(arrays, history, bar)
                if folder is not None:
                    folder.keep(Checkpoint(arrays.tree(), history))
        return arrays, history

    def _to_next_stop(self, arrays: "_Arrays", history: History, bar: Progress) -> tuple["_Arrays", History]:
        """Does the steps up to the next measurement or checkpoint, and measures where it is due."""
        every = self.settings.evaluate_every or self.epoch_steps
        evaluation = min(self.steps, (history.step // every + 1) * every)
        checkpoint = (history.step // self.settings.checkpoint_every + 1) * self.settings.checkpoint_every
        stop = min(evaluation, checkpoint)
        state, losses = arrays.state, []
        for step in range(history.step, stop):
            state, loss = self._step(state, step)
            losses.append(loss)
            bar.count_done(1)
        all_losses = (*history.losses, *map(float, jax.device_get(losses)))
        if not np.isfinite(all_losses[-1]):
            raise DataError(
                f"The loss is not finite after {stop} steps. Give a lower `rate` (it is {self.settings.rate:g})."
            )
        history = replace(history, step=stop, losses=all_losses)
        if self.dev is None or stop != evaluation:
            return _Arrays(state, arrays.best), history
        measured = measure(self.plan, self.kept, state.trained, self.dev, self.shapes)
        last = history.evaluations[-1].step if history.evaluations else 0
        history = replace(
            history,
            evaluations=(
                *history.evaluations,
                Evaluation(stop, float(np.mean(all_losses[last:])), measured.loss, measured.accuracy),
            ),
        )
        _log.info(
            "step %d of %d: loss %.3f, dev loss %.3f, dev accuracy %.4f", stop, self.steps, *history.evaluations[-1][1:]
        )
        is_best = history.without_gain == 0
        return _Arrays(state, jax.tree.map(jnp.copy, state.trained) if is_best else arrays.best), history

    def _step(self, state: State, step: int) -> tuple[State, jax.Array]:
        epoch, place = divmod(step, self.epoch_steps)
        chosen = self.order_of(epoch=epoch)[place]
        batch = make_batch(self.texts, chosen, self.shapes)
        rate = jnp.float32(rate_of_step(self.settings, step, self.steps))
        return train_step(self.plan, self.kept, state, batch, rate, jax.random.fold_in(self.key, step))

    def params(self, arrays: "_Arrays") -> Trained:
        """Returns the parameters of the outcome: `stack`, whole, and `classifier`."""
        trained = arrays.state.trained if arrays.best is None else arrays.best
        return {"stack": join_params(trained["stack"], self.kept), "classifier": trained["classifier"]}


@dataclass(frozen=True)
class _Arrays:
    """What a checkpoint keeps."""

    state: State
    best: Trained | None

    def tree(self) -> PyTree:
        return self.state, self.best


def _refuse(model: Model, corpus: Corpus, task: str, classes: tuple[str, ...]) -> None:
    if len(classes) < 2:
        raise DataError(f"`{task}` of {corpus.name} must have two classes or more, got {', '.join(classes) or 'none'}.")
    if model.config.language_head is not None:
        raise SettingsError(f"{model.name} was loaded with its language head, which is not tuned: leave out head=True.")
    if model.mesh is not None:
        raise SettingsError(f"{model.name} is split over devices. A model is tuned on one: leave out `split_over`.")


def _identity(model: Model, corpus: Corpus, dev: Corpus | None, task: str, settings: Tuning) -> dict[str, Any]:
    return {
        "model": model.fingerprint,
        "train": corpus.fingerprint(),
        "dev": None if dev is None else dev.fingerprint(),
        "task": task,
        "settings": {name: value for name, value in asdict(settings).items() if name not in _NO_RESULT},
    }


def _draw_classifier(config: StackConfig, classes: int, key: jax.Array) -> dict[str, jax.Array]:
    """Draws a classifier: the matrix normal with the config's standard deviation, the bias 0."""
    shapes = Classifier.shapes(config.residual_width, classes)
    kernel = jax.random.normal(key, shapes["kernel"].shape, jnp.float32)
    return {"kernel": kernel * jnp.float32(config.initializer_range), "bias": jnp.zeros(classes, jnp.float32)}


def _finished(model: Model, params: Trained, classifier: Classifier) -> Model:
    """Returns the model with its tuned parameters, in its own precision, and the classifier."""
    stack = jax.tree.map(lambda new, old: new.astype(old.dtype), params["stack"], model.params)
    return replace(model.with_params(stack), classifier=replace(classifier, params=params["classifier"]))
