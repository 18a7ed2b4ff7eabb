"""Tiny random models of every family beside PyTorch's."""

import json
from pathlib import Path

from lca_jax.models.load import load_model
from lca_jax.models.model import Model
from tests.models.parity import PLACES, Comparison, Reference
from tests.tiny_bert import draw_windows
from tests.tiny_models import VOCABULARY, Tiny, write_model

LENGTHS = [1, 5, 20, 7, 16, 2, 3, 10]
TARGET_LENGTHS = [4, 1, 13, 9, 3, 2, 6, 8]


def compare_tiny(tiny: Tiny, folder: Path, *, as_published: bool = False) -> tuple[Model, Comparison]:
    """Writes the model to a folder and makes ready to compare it.

    With `as_published` its `config.json` has the keys of the configuration as they are, not as transformers writes.
    """
    theirs = write_model(folder, tiny)
    if as_published:
        published = {"model_type": tiny.model_type, "vocab_size": VOCABULARY, **tiny.changes}
        (folder / "config.json").write_text(json.dumps(published))
    model = load_model(folder, head=True)
    reference = Reference(theirs, model.config, PLACES[model.config.family])
    windows = draw_windows(LENGTHS, vocabulary=VOCABULARY)
    targets = draw_windows(TARGET_LENGTHS, vocabulary=VOCABULARY, seed=2) if model.config.decoder else None
    return model, Comparison(model, reference, windows, slots=24, targets=targets)
