"""Tiny random models of every family beside PyTorch's."""

from pathlib import Path

from lca_jax.models.load import load_model
from lca_jax.models.model import Model
from tests.models.parity import PLACES, Comparison, Reference
from tests.tiny_bert import draw_windows
from tests.tiny_models import VOCABULARY, Tiny, write_model

LENGTHS = [1, 5, 20, 7, 16, 2, 3, 10]
TARGET_LENGTHS = [4, 1, 13, 9, 3, 2, 6, 8]


def compare_tiny(tiny: Tiny, folder: Path) -> tuple[Model, Comparison]:
    """Writes the model to a folder and makes ready to compare it."""
    theirs = write_model(folder, tiny)
    model = load_model(folder, head=True)
    reference = Reference(theirs, model.config, PLACES[model.config.family])
    windows = draw_windows(LENGTHS, vocabulary=VOCABULARY)
    targets = draw_windows(TARGET_LENGTHS, vocabulary=VOCABULARY, seed=2) if model.config.decoder else None
    return model, Comparison(model, reference, windows, slots=24, targets=targets)
