"""Settles what a run reads: a model, a corpus, the units, the recipe, the devices and the shapes, in one record.

`extract` and `recompute` make the record once, from the caller's settings; everything behind them takes the record.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh

from lca_jax.axes import Layers
from lca_jax.errors import CorpusError, SettingsError
from lca_jax.extraction.planning import plan_units
from lca_jax.extraction.shapes import choose_row_length, choose_shard_words, choose_window, shapes_on
from lca_jax.machine.checksums import checksum_of
from lca_jax.machine.devices import data_mesh
from lca_jax.models.loading.folders import tokenizer_content
from lca_jax.models.model import Model
from lca_jax.models.stack.taps import Edit, check_edits
from lca_jax.store.folder import CHUNK_WORDS
from lca_jax.store.recipe import Pool, Recipe, SiteShape, StoreDtype, WordChoice
from lca_jax.store.units import Units
from lca_jax.text.corpus import Corpus
from lca_jax.text.pairs import special_pieces_of
from lca_jax.text.reference import reference_pieces

Neurons = Sequence[int] | Mapping[str, Sequence[int]] | None
"""Indices of neurons inside their layers, for every site alike or by site; None for all."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Reading:
    """Everything that running a model over a corpus needs, checked and settled."""

    model: Model
    """The model that is run."""
    corpus: Corpus
    """The words and labels."""
    units: Units
    """What is read: words, pieces or sentences."""
    recipe: Recipe
    """What determines the vectors."""
    edits: Mapping[str, Edit]
    """Scale and shift of neurons inside the model, by site."""
    mesh: Mesh
    """The devices over which the rows of every batch are split."""
    shapes: Mapping[int, int]
    """Rows of a batch for each row length, in rising order of the length."""

    @property
    def names(self) -> dict[str, str]:
        """Names of model and tokenizer for the manifest; they decide nothing."""
        return {"model": self.model.name, "tokenizer": type(self.model.tokenizer).__name__}


def plan_reading(
    model: Model,
    corpus: Corpus,
    *,
    sites: Sequence[str],
    layers: Layers,
    neurons: Neurons,
    pool: Pool,
    choice: WordChoice | None,
    dtype: StoreDtype,
    edits: Mapping[str, Edit] | None,
    row_length: int | None,
    rows_per_batch: int | None,
    shard_words: int | None,
    longest_window: int | None = None,
) -> Reading:
    """Checks the settings of a run and settles what it reads; arguments and errors are those of `extract`."""
    choice, edits = choice or WordChoice(), edits or {}
    units = _choose_units(model, corpus, pool=pool, choice=choice)
    shapes = choose_neurons(model, model.config.choose_layers(sites, layers), neurons)
    if shard_words is None:
        size = jnp.dtype(dtype).itemsize
        shard_words = choose_shard_words(units.count, shapes, word_bytes=size, processes=jax.process_count())
    if shard_words < 1 or (shard_words > CHUNK_WORDS and shard_words % CHUNK_WORDS):
        raise SettingsError(f"`shard_words` must be a multiple of {CHUNK_WORDS}, or less than that, got {shard_words}.")
    for name, given in (
        ("row_length", row_length),
        ("rows_per_batch", rows_per_batch),
        ("longest_window", longest_window),
    ):
        if given is not None and given < 1:
            raise SettingsError(f"`{name}` must be 1 or more, got {given}. Leave it out for the usual number.")
    row_length = row_length or choose_row_length(corpus)
    check_edits(model.config, edits)
    recipe = Recipe(
        model=model.fingerprint,
        corpus=corpus.fingerprint(),
        words=units.count,
        sites=shapes,
        dtype=dtype,
        pool=pool,
        edits=_edits_fingerprint(edits) if edits else None,
        longest_window=choose_window(longest_window, row_length=row_length, most=model.max_pieces),
        row_length=row_length,
        shard_words=shard_words,
        tokenizer=checksum_of(tokenizer_content(model.tokenizer).encode()),
        choice=choice,
        pieces=reference_pieces(model.tokenizer),
    )
    mesh = model.mesh or data_mesh()
    return Reading(
        model=model,
        corpus=corpus,
        units=units,
        recipe=recipe,
        edits=edits,
        mesh=mesh,
        shapes=shapes_on(mesh, recipe, words=units.words_in_context, rows_per_batch=rows_per_batch),
    )


def _choose_units(model: Model, corpus: Corpus, *, pool: Pool, choice: WordChoice) -> Units:
    """Returns the units that are read of the corpus."""
    if corpus.word_count == 0:
        raise CorpusError(f"{corpus.name} has no words, so there is nothing to extract. Give a corpus with words.")
    pairs = corpus.second_starts is not None
    special = special_pieces_of(model.tokenizer, pairs=pairs)
    return plan_units(corpus, model.tokenizer, special, pool=pool, choice=choice)


def choose_neurons(model: Model, sites: Mapping[str, tuple[int, ...]], neurons: Neurons) -> dict[str, SiteShape]:
    """Returns the layers read at every site, and which of their neurons are kept.

    Raises:
        SettingsError: A neuron is not in its layer or named twice, or a site with neurons is not read.
    """
    if isinstance(neurons, Mapping) and (unknown := sorted(set(neurons) - set(sites))):
        raise SettingsError(f"`neurons` names the site `{unknown[0]}`, which is not read. Sites: {', '.join(sites)}.")
    shapes = {}
    for site, layers in sites.items():
        width = model.width(site)
        of_site = neurons.get(site) if isinstance(neurons, Mapping) else neurons
        chosen = None if of_site is None else tuple(map(int, of_site))
        if chosen is not None and (len(set(chosen)) != len(chosen) or not chosen):
            raise SettingsError(f"`neurons` of `{site}` must be different indices, at least one, got {list(chosen)}.")
        if chosen is not None and not 0 <= min(chosen) <= max(chosen) < width:
            raise SettingsError(f"Neurons of `{site}` run from 0 to {width - 1}, got {min(chosen)} to {max(chosen)}.")
        shapes[site] = SiteShape(layers=layers, width=width if chosen is None else len(chosen), neurons=chosen)
    return shapes


def _edits_fingerprint(edits: Mapping[str, Edit]) -> str:
    digest = hashlib.sha256()
    for site, edit in sorted(edits.items()):
        digest.update(f"{site} {np.shape(edit.scale)}".encode())
        for part in (part for part in edit if part is not None):
            digest.update(np.asarray(part, np.float32).tobytes())
    return digest.hexdigest()
