"""Tuning as its user meets it: it learns, it is kept, it goes on after a kill, it compiles once."""

import subprocess
import sys
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest

from lca_jax import Tuning, classify, load_model, tune
from lca_jax.errors import DataError, LcaError, ModelError, SettingsError, StoreError
from lca_jax.machine.checksums import checksums_in
from lca_jax.models.model import Model
from lca_jax.training.batches import Shapes, make_batch, split_order
from lca_jax.training.checkpoints import Checkpoint, TuningFolder, tuning_folder
from lca_jax.training.texts import read_texts
from tests.compilations import count_programs
from tests.lost_locks import files_of_the_end
from tests.processes import ROOT, compiling
from tests.tiny_bert import write_bert
from tests.training.texts import lettered

QUICK = Tuning(epochs=2, batch=16, rate=3e-3)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Model:
    return load_model(write_bert(tmp_path_factory.mktemp("bert")))


def arrays_of(tuned: Model) -> list[np.ndarray]:
    assert tuned.classifier is not None
    return [np.asarray(leaf) for leaf in jax.tree.leaves((tuned.params, dict(tuned.classifier.params)))]


def assert_same(one: Model, other: Model) -> None:
    for ours, theirs in zip(arrays_of(one), arrays_of(other), strict=True):
        np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize(("task", "pairs"), [("has", False), ("has", True), ("half", False)])
def test_a_task_is_learned_kept_and_opened_again(model: Model, tmp_path: Path, task: str, pairs: bool) -> None:
    train, dev = lettered(160, seed=0, pairs=pairs), lettered(60, seed=1, pairs=pairs)
    before = [np.asarray(leaf) for leaf in jax.tree.leaves(model.params)]
    tuned = tune(model, train, dev, task=task, out=tmp_path / "tuned", settings=replace(QUICK, epochs=6))
    best = tuned.history.best
    assert best is not None
    assert best.accuracy > (0.6 if task == "has" else 0.85)  # each class has about half of the units
    assert len(tuned.history.losses) == tuned.history.step == 60
    assert np.mean(tuned.history.losses[-10:]) < np.mean(tuned.history.losses[:10])
    for array, leaf in zip(before, jax.tree.leaves(model.params), strict=True):
        np.testing.assert_array_equal(array, np.asarray(leaf))  # the model that was given is as it was
    opened = load_model(tmp_path / "tuned")
    assert_same(opened, tuned.model)
    assert opened.fingerprint == tuned.model.fingerprint != model.fingerprint
    found = classify(opened, dev)
    assert found.accuracy == pytest.approx(best.accuracy)
    gold = dev.sentence_labels[task] if task == "has" else dev.labels[task]
    flat, flat_gold = (
        np.concatenate([np.atleast_1d(np.array(each, object)) for each in labels]) for labels in (found.labels, gold)
    )
    assert (flat == flat_gold).mean() == pytest.approx(best.accuracy)
    assert "classifier: " + task in repr(opened)


def test_the_same_call_gives_the_same_model_and_another_seed_another(model: Model) -> None:
    train = lettered(60, seed=0)
    once, again = (tune(model, train, task="has", settings=QUICK) for _ in range(2))
    assert_same(once.model, again.model)
    other = tune(model, train, task="has", settings=replace(QUICK, seed=1))
    assert not np.array_equal(arrays_of(once.model)[0], arrays_of(other.model)[0])


def test_one_program_a_shape_and_none_for_another_seed(model: Model) -> None:
    train, dev = lettered(150, seed=2), lettered(40, seed=3)
    settings = replace(QUICK, batch=15, evaluate_every=7, epochs=3)
    texts = read_texts(model, train, "has", classes=("no", "yes"), pool="sentence-mean")
    dev_texts = read_texts(model, dev, "has", classes=("no", "yes"), pool="sentence-mean")
    shapes = Shapes.plan([texts, dev_texts], windows=15, seed=0)
    rows = {
        len(make_batch(texts, chosen, shapes).units)
        for epoch in range(3)
        for chosen in split_order(texts, shapes, seed=0, epoch=epoch)
    }
    with count_programs(afresh=True) as names:
        tune(model, train, dev, task="has", settings=settings)
    assert names.count("jit(train_step)") == len(rows) <= 2
    assert names.count("jit(measure_step)") <= 2
    with count_programs() as names:
        tune(model, train, dev, task="has", settings=replace(settings, rate=1e-3, epochs=2))
    assert not {"jit(train_step)", "jit(measure_step)"} & set(names)


def test_batches_hold_every_window_once_in_an_order_of_the_epoch(model: Model) -> None:
    texts = read_texts(model, lettered(50, seed=0), "half", classes=("first", "second"), pool="mean")
    shapes = Shapes.plan([texts], windows=8, seed=5)
    orders = [np.concatenate(split_order(texts, shapes, seed=5, epoch=epoch)) for epoch in range(2)]
    assert not np.array_equal(orders[0], orders[1])
    for order in orders:
        np.testing.assert_array_equal(np.sort(order), np.arange(50))
    batch = make_batch(texts, split_order(texts, shapes, seed=5, epoch=0)[0], shapes)
    classes = np.concatenate([texts.classes[window] for window in orders[0][:8]])
    for unit, number in enumerate(classes):
        pieces = np.asarray(batch.pieces.piece_ids)[batch.units == unit]
        (word,) = {model.tokenizer.convert_ids_to_tokens([piece])[0] for piece in pieces.tolist()}
        assert number == (word >= "e")
    assert (batch.classes >= 0).sum() == len(classes)


@pytest.mark.parametrize(
    ("place", "there"),
    [
        ("lca_jax.training.checkpoints:TuningFolder.keep", "tuning.json"),
        ("lca_jax.training.tune:join_params", "checkpoints/"),
        ("lca_jax.training.checkpoints:TuningFolder.end", "stack.json"),
    ],
)
def test_a_tuning_that_lost_its_folder_writes_nothing(
    model: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str, there: str
) -> None:
    work = partial(tune, model, lettered(60, seed=0), task="has", out=tmp_path, settings=QUICK)
    before = files_of_the_end(monkeypatch, place, tmp_path, work)
    assert any(name.startswith(there) for name in before)


class Stopped(Exception):  # noqa: N818 - no failure
    """Stands for a kill, where a real one would cost a process."""


@pytest.mark.parametrize("after", [1, 3])
def test_a_tuning_that_was_stopped_ends_as_if_it_was_not(
    model: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, after: int
) -> None:
    train, dev = lettered(90, seed=0), lettered(30, seed=1)
    settings = replace(QUICK, checkpoint_every=4)
    whole = tune(model, train, dev, task="has", settings=settings)
    keep, kept = TuningFolder.keep, []

    def keep_and_stop(folder: TuningFolder, checkpoint: Checkpoint) -> None:
        keep(folder, checkpoint)
        kept.append(checkpoint.history.step)
        if len(kept) == after:
            raise Stopped

    monkeypatch.setattr(TuningFolder, "keep", keep_and_stop)
    with pytest.raises(Stopped):
        tune(model, train, dev, task="has", out=tmp_path / "tuned", settings=settings)
    resumed = tune(model, train, dev, task="has", out=tmp_path / "tuned", settings=settings)
    assert kept == [4, 6, 8, 12]  # checkpoints, and measurements after epochs of 6 steps
    assert_same(resumed.model, whole.model)
    assert resumed.history == whole.history
    assert not (tmp_path / "tuned" / "checkpoints").exists()
    assert tune(model, train, dev, task="has", out=tmp_path / "tuned", settings=settings).history == whole.history
    with pytest.raises(SettingsError, match="its settings differ"):
        tune(model, train, dev, task="has", out=tmp_path / "tuned", settings=replace(settings, rate=1e-4))


KILLED = """
import os, sys
from pathlib import Path
import jax
jax.config.update("jax_platforms", "cpu")
from lca_jax import Tuning, load_model, tune
from tests.training.texts import lettered

bert, out = Path(sys.argv[1]), Path(sys.argv[2])
NAMED = {"os.rename", "shutil.rmtree"}


def work(limit):
    count = 0

    def watch(event, arguments):
        nonlocal count
        if event in NAMED and str(out) in str(arguments[0]):
            count += 1
            if count == limit:
                os._exit(9)

    sys.addaudithook(watch)
    tune(load_model(bert), lettered(60, seed=0), lettered(30, seed=1), task="has", out=out,
         settings=Tuning(epochs=2, batch=16, rate=3e-3, checkpoint_every=3))


kills = 0
for limit in (1, 2, 4, 7, None):
    if (child := os.fork()) == 0:
        work(limit)
        os._exit(0)
    kills += os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 9
print(kills)
"""


@pytest.mark.slow
def test_a_tuning_that_is_killed_before_its_writes_ends_with_the_same_files(tmp_path: Path) -> None:
    bert, out = write_bert(tmp_path / "bert"), tmp_path / "tuned"
    child = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", KILLED, str(bert), str(out)],
        capture_output=True, text=True, check=False, cwd=ROOT, env={**compiling(), "PYTHONPATH": str(ROOT), "PATH": ""},
    )  # fmt: skip
    assert child.returncode == 0, child.stderr
    assert int(child.stdout.split()[-1]) >= 3
    settings = Tuning(epochs=2, batch=16, rate=3e-3, checkpoint_every=3)
    whole = tune(load_model(bert), lettered(60, seed=0), lettered(30, seed=1), task="has", settings=settings)
    # Eight virtual devices of one process and one of the other share the arithmetic, but not the threads of a product.
    opened = load_model(out)
    for ours, theirs in zip(arrays_of(opened), arrays_of(whole.model), strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-5)
    assert {name.split("/")[0].split("-")[0] for name in checksums_in(out)} == {"stack.json", "tuning.json", "parts"}


def test_tuning_ends_when_the_dev_texts_gain_nothing(model: Model) -> None:
    # Labels of the dev texts are the wrong way round: what is learned makes them worse.
    train, dev = lettered(120, seed=0), lettered(60, seed=1)
    turned = {"has": tuple("no" if label == "yes" else "yes" for label in dev.sentence_labels["has"])}
    dev = replace(dev, sentence_labels=turned)
    settings = replace(QUICK, epochs=10, evaluate_every=8, patience=2)
    tuned = tune(model, train, dev, task="has", settings=settings)
    best = tuned.history.best
    assert best is not None
    assert tuned.history.step == best.step + 16 < 80
    assert classify(tuned.model, dev).accuracy == pytest.approx(best.accuracy), "the best parameters are kept"


def test_in_bfloat16_the_parameters_stay_in_float32_and_learn(model: Model) -> None:
    train, dev = lettered(160, seed=0), lettered(60, seed=1)
    tuned = tune(model, train, dev, task="half", settings=replace(QUICK, epochs=4, dtype="bfloat16"))
    assert {str(leaf.dtype) for leaf in jax.tree.leaves(tuned.model.params)} == {"float32"}
    assert tuned.history.best is not None
    assert tuned.history.best.accuracy > 0.65  # each class has about half of the words
    exact = tune(model, train, dev, task="half", settings=replace(QUICK, epochs=4))
    np.testing.assert_allclose(tuned.history.losses[0], exact.history.losses[0], atol=0.05)
    assert tuned.history.losses[0] != exact.history.losses[0]


def test_what_is_frozen_does_not_change(model: Model) -> None:
    train = lettered(60, seed=0)
    tuned = tune(model, train, task="has", settings=replace(QUICK, frozen="embedding")).model
    for ours, theirs in zip(*(jax.tree.leaves(one.params["embedding"]) for one in (tuned, model)), strict=True):
        np.testing.assert_array_equal(np.asarray(ours), np.asarray(theirs))
    ours, theirs = (np.asarray(one.params["blocks"][0]["mlp"]["expand"]["kernel"]) for one in (tuned, model))
    assert np.abs(ours - theirs).max() > 1e-4
    assert (
        tune(model, train, task="has", settings=replace(QUICK, frozen="stack")).model.fingerprint == model.fingerprint
    )


def test_sentences_without_label_or_too_long_are_counted(model: Model) -> None:
    corpus = lettered(40, seed=0)
    labels = (None, *corpus.sentence_labels["has"][1:])
    sentences = (corpus.sentences[0], ("a",) * 30, *corpus.sentences[2:])  # windows hold 24 pieces
    corpus = replace(corpus, sentences=sentences, labels={}, sentence_labels={"has": labels})
    tuned = tune(model, corpus, settings=QUICK)
    assert tuned.skipped == {"without a label": 1, "sentence longer than a window": 1}
    found = classify(tuned.model, corpus)
    assert found.labels[1] is None
    assert found.labels[0] in ("yes", "no")


def wrong_inputs() -> list[tuple[str, type[LcaError], str, dict[str, Any]]]:
    one, other = (
        replace(lettered(8, seed=0), labels={}, sentence_labels={"has": (label,) * 8}) for label in ("yes", "perhaps")
    )
    return [
        ("no such task", SettingsError, "`task` must be one of", {"task": "none"}),
        ("which task", SettingsError, r"has, half", {}),
        ("pool", SettingsError, "task of words: `pool`", {"task": "half", "settings": Tuning(pool="cls")}),
        ("one class", DataError, "two classes or more", {"corpus": one}),
        ("other classes", DataError, "nothing to read", {"corpus": lettered(8, seed=0), "task": "has", "dev": other}),
        ("too fast", DataError, "lower `rate`", {"task": "has", "settings": Tuning(rate=1e30, epochs=2, warmup=0.0)}),
    ]  # fmt: skip


@pytest.mark.parametrize("case", wrong_inputs(), ids=lambda case: case[0])
def test_wrong_input_is_told_with_the_way_out(
    model: Model, case: tuple[str, type[LcaError], str, dict[str, Any]]
) -> None:
    _, error, text, changes = case
    given = {"corpus": lettered(20, seed=0), **changes}
    with pytest.raises(error, match=text):
        tune(model, **given)


def test_folders_and_models_that_do_not_fit_are_refused(model: Model, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(SettingsError, match="something else than a tuning"):
        tune(model, lettered(20, seed=0), task="has", out=tmp_path)
    with tuning_folder(tmp_path / "held", {}), pytest.raises(StoreError):
        tune(model, lettered(20, seed=0), task="has", out=tmp_path / "held")
    assert not list((tmp_path / "held").glob(".lock*"))
    with pytest.raises(ModelError, match="Tune it first"):
        classify(model, lettered(20, seed=0))
