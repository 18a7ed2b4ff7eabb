"""Opens the model of some settings, and keeps the last one open for runs that follow each other."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import fields

from lca_jax.experiment.model_settings import ModelSettings
from lca_jax.models.load import load_model
from lca_jax.models.model import Model

_kept: list[dict[tuple[object, ...], Model]] = []
"""One entry for each block of `keeping_model` that is open: the last model, by its settings."""


def open_model(settings: ModelSettings, *, head: bool = False) -> Model:
    """Loads the model of some settings, with its head where that is asked for."""
    key = (*(getattr(settings, item.name) for item in fields(ModelSettings)), head)
    if _kept and key in _kept[-1]:
        return _kept[-1][key]
    if _kept:
        _kept[-1].clear()  # before the next one is loaded: two may be more than the memory holds
    model = load_model(
        settings.model,
        revision=settings.revision,
        random_weights=settings.random_weights,
        dtype=settings.model_dtype,
        head=head,
        split_over=settings.split_model,
    )
    if _kept:
        _kept[-1][key] = model
    return model


@contextmanager
def keeping_model() -> Iterator[None]:
    """Keeps the last model that was opened, while the block runs: one with the same settings is the same model."""
    _kept.append({})
    try:
        yield
    finally:
        _kept.pop()
