"""`lca tune`: fine-tunes a model on labels of sentences, pairs or words."""

from pathlib import Path
from typing import Annotated

import tyro

from lca_jax.cli.compiling import keep_compiled_programs
from lca_jax.cli.idle import refuse_idle
from lca_jax.cli.output import say, shows_bars
from lca_jax.machine.files import real_path
from lca_jax.text.options import TextOptions
from lca_jax.training.settings import Tuning

_AS_WRITTEN, _DEFAULTS = TextOptions(), Tuning()


def tune_model(
    *,
    model: str,
    train: Path,
    out: Path,
    dev: Path | None = None,
    task: str,
    test: Path | None = None,
    max_sentences: int | None = None,
    texts: Annotated[TextOptions, tyro.conf.arg(name="")] = _AS_WRITTEN,
    tuning: Tuning = _DEFAULTS,
    quiet: bool = False,
    debug: bool = False,
) -> None:
    """Fine-tunes a model on labels of sentences, pairs or words.

    Started again after a kill, it goes on from its last checkpoint. `lca run --model OUT` then probes the tuned model.

    Args:
        model: A hub name or a local folder.
        train: The training texts, in any format that `lca run` reads.
        out: Folder of the checkpoints and of the tuned model.
        dev: The texts on which the best step is chosen and tuning is ended; without them, all steps are done.
        task: The label column, as in `lca run`; NAME=COLUMN names a column by its number.
        test: Texts that are only measured at the end.
        max_sentences: Trains on the first of the sentences alone.
        texts: What the files do not say of themselves.
        tuning: How the model is tuned.
        quiet: Show no progress.
        debug: Show tracebacks.
    """
    del debug
    if dev is None:
        measuring = {"patience": tuning.patience, "evaluate_every": tuning.evaluate_every}
        refuse_idle(measuring, Tuning, "only with `--dev`", prefix="tuning.")
    from lca_jax.models.load import load_model
    from lca_jax.text.formats import read_corpus
    from lca_jax.training.classify import classify
    from lca_jax.training.tune import tune

    keep_compiled_programs()
    out = real_path(out)
    corpora = {
        part: None if file is None else read_corpus(file, tasks=[task], options=texts, part=part)
        for part, file in (("train", train), ("dev", dev), ("test", test))
    }
    corpus = corpora["train"]
    assert corpus is not None
    if max_sentences is not None:
        corpus = corpus.take_sentences(0, max_sentences)
    tuned = tune(load_model(model), corpus, corpora["dev"], out=out, settings=tuning, progress=shows_bars(quiet=quiet))
    lines = [repr(tuned.history)]
    if corpora["test"] is not None:
        found = classify(tuned.model, corpora["test"])
        lines.append("test: nothing is labelled" if found.accuracy is None else f"test accuracy {found.accuracy:.4f}")
    say(*lines, f"The tuned model: {out}")
