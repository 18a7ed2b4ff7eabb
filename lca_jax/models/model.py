"""A model as the rest of the package sees it: a pure `forward`, its parameters, its tokenizer and who it is.

`load_model` takes about a second for 100 MB of weights; parameters are placed on JAX's default device. Compiling,
sharding and batching are left to the caller, who jits `forward`.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path

import jax
from flax import nnx
from jax.sharding import Mesh
from jaxtyping import Array, Float

from lca_jax.axes import DECODER
from lca_jax.errors import ModelError
from lca_jax.hugging_face import PreTrainedTokenizer, PreTrainedTokenizerFast
from lca_jax.machine.devices import model_mesh
from lca_jax.models.loading.checkpoints import open_tensors
from lca_jax.models.loading.folders import find_folder, read_config, read_rules, read_tokenizer, tokenizer_content
from lca_jax.models.loading.saving import DESCRIPTION, read_description, read_params, write_model
from lca_jax.models.loading.weights import draw_weights, read_weights
from lca_jax.models.stack import stack
from lca_jax.models.stack.config import Precision, StackConfig
from lca_jax.models.stack.stack import Batch, Params, Stack
from lca_jax.models.stack.taps import Edit
from lca_jax.models.writing.generation import Search, TextRules, Written, check_writer, write_pieces, write_texts
from lca_jax.models.writing.search import Found

_write = jax.jit(write_pieces, static_argnames=("graph", "rules", "search"))


@dataclass(frozen=True, kw_only=True, eq=False)
class Model:
    """A loaded transformer. Compared by identity; two loads of the same model share their `fingerprint`."""

    name: str
    """As it was asked for: a folder or a hub name."""
    config: StackConfig
    """Sizes and precision."""
    tokenizer: PreTrainedTokenizerFast | PreTrainedTokenizer
    """The tokenizer that came with it: a fast one, or one of SentencePiece."""
    graph: nnx.GraphDef[Stack]
    """The modules without their parameters."""
    params: Params
    """The parameters, to be passed to `forward`: as they are, or placed over a mesh."""
    mesh: Mesh | None
    """The devices that the parameters are split over; None where they lie on JAX's default device."""
    random_weights: int | None
    """Seed of the untrained baseline; None for trained weights."""
    fingerprint: str
    """SHA-256 over config, parameters and tokenizer: equal for equal activations."""
    max_pieces: int
    """The longest window, special pieces included."""
    rules: TextRules
    """How texts begin and end that it writes."""

    def forward(
        self,
        params: Params,
        batch: Batch,
        edits: Mapping[str, Edit] | None = None,
        *,
        sites: Sequence[str] = ("residual",),
        layers: Sequence[int] | Mapping[str, Sequence[int]] | None = None,
        targets: Batch | None = None,
    ) -> dict[str, Float[Array, "_layer row _slot _neuron"]]:
        """Runs the model over packed rows; pure, to be called under `jax.jit` with `sites` and `layers` fixed.

        Args:
            params: `self.params`, or the same tree placed elsewhere.
            batch: Rows of pieces; what stands in padding slots of the result has no meaning.
            edits: Site to scale and shift, (layer, neuron) each, for every layer of that site. Traced: new values do
                not recompile, and a leading axis can be mapped over with `jax.vmap`.
            sites: Sites to return.
            layers: Layer numbers for all of these sites, or a mapping from site to its layer numbers; None for all.
                Blocks above the last layer asked for are not computed.
            targets: Of an encoder-decoder, what its decoder reads: as many rows as `batch`, and in each the windows of
                the same numbers. Only needed for sites of the decoder.

        Returns:
            Site to states after the edits, the layers in the order asked for.

        Raises:
            ModelError: A site or layer is unknown, an edit has another shape than its site, or `targets` are missing.
        """
        stack.check_edits(self.config, edits or {})
        reads = self.config.choose_layers(sites, layers)
        return stack.forward(self.graph, params, batch, edits, reads=reads, targets=targets)

    def logits(
        self,
        params: Params,
        batch: Batch,
        edits: Mapping[str, Edit] | None = None,
        *,
        targets: Batch | None = None,
    ) -> Float[Array, "row _slot vocabulary"]:
        """Runs the model and its head over packed rows; pure, like `forward`.

        Args:
            params: `self.params`, or the same tree placed elsewhere.
            batch: Rows of pieces.
            edits: As in `forward`.
            targets: As in `forward`.

        Returns:
            Float32 logits of the piece at every slot (masked language models) or after it (causal ones; in an
            encoder-decoder, of the slots of `targets`).

        Raises:
            ModelError: The model was loaded without its head, an edit has another shape than its site, or `targets` are
            missing.
        """
        self._check_head()
        stack.check_edits(self.config, edits or {})
        return stack.predict_pieces(self.graph, params, batch, edits, targets=targets)

    def write_pieces(
        self,
        params: Params,
        prompts: Batch,
        edits: Mapping[str, Edit] | None = None,
        *,
        search: Search | None = None,
        start: Sequence[int] | None = None,
    ) -> Found:
        """Goes on with prompts (causal models) or answers sources (encoder-decoders); pure, like `forward`.

        Args:
            params: `self.params`, or the same tree placed elsewhere.
            prompts: One window a row, from its first slot on.
            edits: As in `forward`; applied to the prompts and at every step.
            search: How long the texts may be, and how they are looked for.
            start: The decoder's first pieces, instead of those in `rules`: where a model writes several languages, its
                start and the piece of the language.

        Raises:
            ModelError: The model was loaded without its head or does not write, an edit has another shape than its
            site, or prompt and text are longer than its windows.
        """
        self._check_head()
        stack.check_edits(self.config, edits or {})
        rules = self.rules if start is None else replace(self.rules, start=tuple(start))
        return write_pieces(self.graph, params, prompts, edits, rules=rules, search=search or Search())

    def write(
        self,
        texts: Sequence[str],
        edits: Mapping[str, Edit] | None = None,
        *,
        search: Search | None = None,
        start: Sequence[int] | None = None,
        rows: int = 16,
    ) -> list[Written]:
        """Goes on with texts, or translates them; compiles once for every length of prompts, in steps of 16 pieces.

        Args:
            texts: Prompts or sources.
            edits: As in `forward`.
            search: As in `write_pieces`.
            start: As in `write_pieces`.
            rows: Texts computed together, those of like length.

        Returns:
            One record a text, in their order.

        Raises:
            ModelError: As `write_pieces`; or a text has no piece, or more than a window holds.
        """
        self._check_head()
        stack.check_edits(self.config, edits or {})
        rules = self.rules if start is None else replace(self.rules, start=tuple(start))
        search = search or Search()
        check_writer(self.config.decoder or self.config, slots=1, search=search)
        run = partial(_write, self.graph, self.params, edits=edits, rules=rules, search=search)
        longest = self.max_pieces
        if self.config.decoder is None:
            longest = min(longest, self.config.longest_window - search.longest + 1)
        return write_texts(
            texts,
            self.tokenizer,
            run,
            longest_prompt=longest,
            rows=rows,
            with_prompt=self.config.decoder is None,
        )

    def _check_head(self) -> None:
        if self.config.language_head is None:
            raise ModelError(f"{self.name} was loaded without its head. Load it with head=True.")

    def save(self, folder: str | Path) -> None:
        """Writes the model in our own format, which `load_model` opens again on any mesh.

        Args:
            folder: Made if it is not there; a model saved there before is replaced.
        """
        facts = {"random_weights": self.random_weights, "fingerprint": self.fingerprint, "max_pieces": self.max_pieces}
        facts |= {"rules": asdict(self.rules)}
        write_model(Path(folder), self.config, self.params, self.tokenizer, facts)

    def layer_count(self, site: str) -> int:
        """Number of layers at a site; `residual` counts the embedding output."""
        return self.config.layer_count(site)

    def width(self, site: str) -> int:
        """Number of neurons in one layer of a site."""
        return self.config.site_width(site)

    def describe(self) -> str:
        """Sites, layers, widths, heads, sizes: a few lines for people."""
        leaves = jax.tree.leaves(self.params)
        parameters = sum(leaf.size for leaf in leaves)
        mebibytes = sum(leaf.nbytes for leaf in leaves) / 2**20
        weights = "trained weights" if self.random_weights is None else f"random weights, seed {self.random_weights}"
        rows = [("site", "layers", "width", "neurons", "")]
        for site in self.config.sites:
            count, width = self.layer_count(site), self.width(site)
            notes = self._describe_heads(site)
            rows.append((site, f"0-{count - 1}", f"{width:,}", f"{count * width:,}", notes))
        table = (
            f"  {site:<18}{layers:>7}{width:>8}{neurons:>10}  {notes}".rstrip()
            for site, layers, width, neurons, notes in rows
        )
        return "\n".join(
            [
                f"{self.name}: {self.config.family}, {weights}, {self.config.dtype}",
                *table,
                f"  head: {self._describe_head()}",
                f"  {parameters:,} parameters, {mebibytes:,.1f} MiB; windows of up to {self.max_pieces:,} pieces",
                f"  fingerprint {self.fingerprint}",
            ]
        )

    def _describe_heads(self, site: str) -> str:
        of_decoder = site.startswith(DECODER) and self.config.decoder is not None
        config = self.config.decoder if of_decoder and self.config.decoder else self.config
        name = site.removeprefix(DECODER)
        if name not in ("attention", "cross"):
            return ""
        if name == "attention" and config.mixing == "recurrence":
            return "a recurrence"
        attention = config.attention
        shared = "" if attention.key_heads == attention.heads else f", {attention.key_heads} key heads"
        return f"{attention.heads} heads of {attention.head_width}{shared}"

    def _describe_head(self) -> str:
        head = self.config.language_head
        if head is None:
            return "not loaded"
        tied = "tied to the embedding" if head.tied else "with its own vectors"
        return f"loaded, logits of {(self.config.decoder or self.config).embedding.vocabulary:,} pieces, {tied}"


def load_model(
    name: str | Path,
    *,
    revision: str | None = None,
    random_weights: int | None = None,
    dtype: Precision = "float32",
    head: bool = False,
    split_over: int = 1,
) -> Model:
    """Loads a model from a local Hugging Face folder, from the hub, or from a folder that `Model.save` wrote.

    Args:
        name: Folder with `config.json`, tokenizer and weights (`model.safetensors`, shards with an index, or a legacy
            `flax_model.msgpack`), or a name on the hub.
        revision: Branch, tag or commit on the hub.
        random_weights: Seed of an untrained model of the same architecture and tokenizer: the baseline that shows what
            the trained weights add. The folder's weights are not read and need not exist.
        dtype: Precision of matrices and hidden states, whatever the checkpoint is stored in. Products of float32 are
            computed in float32 on every device.
        head: Whether the language model's head is wanted too, for `Model.logits` and `Model.write`, and with it, of an
            encoder-decoder, the decoder. Sentence encoders have none.
        split_over: Devices that share one copy of the weights, for models larger than one device's memory; the
            sentences are split over the groups of so many devices. Every part is sent straight to its device.

    Raises:
        ModelError: The folder or repository cannot be had, its family is not supported, or its files do not agree.
    """
    mesh = None if split_over == 1 else model_mesh(split_over)
    folder = find_folder(name, revision=revision, weights=random_weights is None)
    if (folder / DESCRIPTION).is_file():
        if random_weights is not None or head or dtype != "float32":
            raise ModelError(
                f"{folder} is a saved model and is loaded as it was saved: give no other choice than `split_over`."
            )
        return _load_saved(name, folder, mesh)
    family, theirs = read_config(folder)
    try:
        config = family.read_config(theirs, dtype)
    except ModelError as error:
        raise ModelError(f"{folder / 'config.json'}: {error}") from None
    config = config if head else replace(config, head=None, decoder=None)
    tokenizer = read_tokenizer(folder, vocabulary=config.embedding.vocabulary)
    graph, shapes = stack.build(config)
    if random_weights is None:
        params, weights = read_weights(open_tensors(folder), family, config, shapes, origin=str(folder), mesh=mesh)
    else:
        params, weights = draw_weights(config, shapes, seed=random_weights, mesh=mesh), f"random {random_weights}"
    return Model(
        name=str(name),
        config=config,
        tokenizer=tokenizer,
        graph=graph,
        params=params,
        mesh=mesh,
        random_weights=random_weights,
        fingerprint=_fingerprint(config, weights, tokenizer_content(tokenizer)),
        max_pieces=min(config.longest_window, tokenizer.model_max_length),
        rules=read_rules(folder, theirs) if head else TextRules(),
    )


def _load_saved(name: str | Path, folder: Path, mesh: Mesh | None) -> Model:
    config, facts = read_description(folder)
    graph, shapes = stack.build(config)
    return Model(
        name=str(name),
        config=config,
        tokenizer=read_tokenizer(folder, vocabulary=config.embedding.vocabulary),
        graph=graph,
        params=read_params(folder, shapes, mesh),
        mesh=mesh,
        random_weights=facts["random_weights"],
        fingerprint=facts["fingerprint"],
        max_pieces=facts["max_pieces"],
        rules=TextRules(**{name: tuple(pieces) for name, pieces in facts["rules"].items()}),
    )


def _fingerprint(config: StackConfig, weights: str, tokenizer: str) -> str:
    parts = (json.dumps(asdict(config), sort_keys=True), weights, tokenizer)
    return hashlib.sha256(b"".join(hashlib.sha256(part.encode()).digest() for part in parts)).hexdigest()
