"""Opens a model: from a Hugging Face folder, from the hub, or from a folder that `Model.save` wrote.

Loading takes about a second for 100 MB of weights; parameters are placed on JAX's default device, or split over several
devices.
"""

from dataclasses import replace
from functools import partial
from pathlib import Path

from jax.sharding import Mesh

from lca_jax.errors import ModelError, SettingsError
from lca_jax.machine.devices import model_mesh
from lca_jax.machine.json_text import take
from lca_jax.machine.remote import fetched
from lca_jax.machine.urls import url_of
from lca_jax.models.loading.checkpoints import open_tensors
from lca_jax.models.loading.folders import (
    files_of_model,
    find_folder,
    read_config,
    read_rules,
    read_tokenizer,
    refuse_revision,
)
from lca_jax.models.loading.refusing import longest_text_of, refuse_more_blocks_than_tensors
from lca_jax.models.loading.saving import DESCRIPTION, open_saved, read_params
from lca_jax.models.loading.weights import draw_weights, read_weights
from lca_jax.models.model import Model
from lca_jax.models.stack import stack
from lca_jax.models.stack.attention_config import RelativeSinusoids
from lca_jax.models.stack.config import Precision, StackConfig
from lca_jax.models.writing.generation import TextRules


def load_model(
    name: str | Path,
    *,
    revision: str | None = None,
    random_weights: int | None = None,
    dtype: Precision = "float32",
    head: bool = False,
    split_over: int = 1,
    segment_terms: bool = True,
) -> Model:
    """Loads a model from a local Hugging Face folder, from the hub, or from a folder that `Model.save` wrote.

    Args:
        name: Folder, or URL of one (`gs://bucket/model`), with `config.json`, tokenizer and weights
            (`model.safetensors`, shards with an index, or a legacy `flax_model.msgpack`), or a name on the hub. What
            lies at a URL is copied to a temporary folder while it is read.
        revision: Branch, tag or commit on the hub.
        random_weights: Seed of an untrained model of the same architecture and tokenizer: the baseline that shows what
            the trained weights add. The folder's weights are not read and need not exist.
        dtype: Precision of matrices and hidden states, whatever the checkpoint is stored in. Products of float32 are
            computed in float32 on every device.
        head: Whether to load the language model's head too, for `Model.logits` and `Model.write`, and with it the
            decoder of an encoder-decoder. Sentence encoders do not have a head. A saved model has what it was saved
            with.
        split_over: Number of devices that share one copy of the weights, for models larger than one device's memory;
            the sentences are split over groups of this many devices. Every part is sent straight to its device. More
            devices than a process has are those of several neighbouring processes of a job, which all load the model
            and run it together.
        segment_terms: Whether XLNet's attention tells pieces of different token types apart, as it was trained: its
            piece `<cls>` has a type of its own, and so has each text of a pair. False is for comparisons with NeuroX,
            which gives the model no token types. Other families have no such terms.

    Raises:
        ModelError: The folder or repository cannot be read, its family is not supported, or its files do not agree.
        SettingsError: `split_over` neither divides the devices of this process nor is the number of devices of several,
            or `segment_terms=False` is given for another family than XLNet.
    """
    if (url := url_of(name)) is not None:
        refuse_revision(revision, url)
        choices = {"random_weights": random_weights, "dtype": dtype, "head": head, "split_over": split_over}
        with fetched(url, partial(files_of_model, weights=random_weights is None)) as copy:
            return replace(load_model(copy, **choices, segment_terms=segment_terms), name=url)
    mesh = None if split_over == 1 else model_mesh(split_over)
    folder = find_folder(name, revision=revision, weights=random_weights is None)
    if (folder / DESCRIPTION).is_file():
        if random_weights is not None or dtype != "float32" or not segment_terms:
            raise ModelError(
                f"{folder} is a saved model and is loaded as it was saved: give no other choice than `split_over`."
            )
        saved = _load_saved(name, folder, mesh)
        if head and saved.config.language_head is None:
            raise ModelError(f"{folder} is a model that was saved without its head. Save it with its head.")
        return saved
    family, hf_config = read_config(folder)
    try:
        config = family.read_config(hf_config, dtype)
    except ModelError as error:
        raise ModelError(f"{folder / 'config.json'}: {error}") from None
    except (TypeError, ValueError, KeyError, AttributeError, ArithmeticError) as error:
        raise ModelError(f"{folder / 'config.json'} has a value of the wrong kind: {error!r}.") from None
    tied = config.language_head is not None and config.language_head.tied
    config = config if head else replace(config, head=None, decoder=None)
    config = config if segment_terms else _without_segment_terms(config)
    tokenizer = read_tokenizer(folder, vocabulary=config.embedding.vocabulary, config=hf_config)
    tensors = open_tensors(folder) if random_weights is None else None
    if tensors is not None:
        refuse_more_blocks_than_tensors(config, tensors, place=str(folder))
    graph, shapes = stack.build(config)
    if tensors is not None:
        params, hashed = read_weights(tensors, family, config, shapes, origin=str(folder), tied=tied, mesh=mesh)
    else:
        assert random_weights is not None
        params, hashed = draw_weights(config, shapes, seed=random_weights, mesh=mesh), None
    return Model(
        name=str(name),
        config=config,
        tokenizer=tokenizer,
        graph=graph,
        params=params,
        mesh=mesh,
        random_weights=random_weights,
        hashed=hashed,
        max_pieces=min(config.longest_window, longest_text_of(tokenizer, folder=folder)),
        rules=read_rules(folder, hf_config) if head else TextRules(),
    )


def _load_saved(name: str | Path, folder: Path, mesh: Mesh | None) -> Model:
    saved = open_saved(folder)
    graph, shapes = stack.build(saved.config)
    try:
        facts = {
            "random_weights": take(saved.facts, "random_weights", (int, type(None)), place=DESCRIPTION),
            "max_pieces": take(saved.facts, "max_pieces", int, place=DESCRIPTION),
            "rules": TextRules(**{name: tuple(pieces) for name, pieces in saved.facts["rules"].items()}),
        }
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ModelError(f"{folder / DESCRIPTION} breaks its format: {error}. Save the model again.") from None
    return Model(
        name=str(name),
        config=saved.config,
        tokenizer=read_tokenizer(saved.tokenizer, vocabulary=saved.config.embedding.vocabulary),
        graph=graph,
        params=read_params(saved.params, shapes, mesh),
        classifier=saved.read_classifier(),
        mesh=mesh,
        **facts,
    )


def _without_segment_terms(config: StackConfig) -> StackConfig:
    relative = config.attention.relative
    if not isinstance(relative, RelativeSinusoids):
        raise SettingsError(
            f"`segment_terms` belong to XLNet; a model of family {config.family!r} has none. Leave it out."
        )
    return replace(config, attention=replace(config.attention, relative=replace(relative, segments=False)))
