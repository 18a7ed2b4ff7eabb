"""A model as the rest of the package sees it: a pure `forward`, its parameters, its tokenizer and who it is.

`load_model` takes about a second for 100 MB of weights; parameters are placed on JAX's default device. Compiling,
sharding and batching are left to the caller, who jits `forward`.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import jax
from flax import nnx
from jax.sharding import Mesh
from jaxtyping import Array, Float
from transformers import PreTrainedTokenizer, PreTrainedTokenizerFast

from lca_jax.axes import SITES
from lca_jax.devices import model_mesh
from lca_jax.errors import ModelError
from lca_jax.models import stack
from lca_jax.models.checkpoints import open_tensors
from lca_jax.models.config import Precision, StackConfig
from lca_jax.models.folders import find_folder, read_config, read_tokenizer, tokenizer_content
from lca_jax.models.saving import DESCRIPTION, read_description, read_params, write_model
from lca_jax.models.stack import Batch, Params, Stack
from lca_jax.models.taps import Edit
from lca_jax.models.weights import draw_weights, read_weights


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

    def forward(
        self,
        params: Params,
        batch: Batch,
        edits: Mapping[str, Edit] | None = None,
        *,
        sites: Sequence[str] = ("residual",),
        layers: Sequence[int] | Mapping[str, Sequence[int]] | None = None,
    ) -> dict[str, Float[Array, "_layer row slot _neuron"]]:
        """Runs the model over packed rows; pure, to be called under `jax.jit` with `sites` and `layers` fixed.

        Args:
            params: `self.params`, or the same tree placed elsewhere.
            batch: Rows of pieces; what stands in padding slots of the result has no meaning.
            edits: Site to scale and shift, (layer, neuron) each, for every layer of that site. Traced: new values do
                not recompile, and a leading axis can be mapped over with `jax.vmap`.
            sites: Sites to return.
            layers: Layer numbers for all of these sites, or a mapping from site to its layer numbers; None for all.
                Blocks above the last layer asked for are not computed.

        Returns:
            Site to states after the edits, the layers in the order asked for.

        Raises:
            ModelError: A site or layer is unknown, or an edit has another shape than its site.
        """
        stack.check_edits(self.config, edits or {})
        reads = self.config.choose_layers(sites, layers)
        return stack.forward(self.graph, params, batch, edits, reads=reads)

    def logits(
        self, params: Params, batch: Batch, edits: Mapping[str, Edit] | None = None
    ) -> Float[Array, "row slot vocabulary"]:
        """Runs the model and its head over packed rows; pure, like `forward`.

        Args:
            params: `self.params`, or the same tree placed elsewhere.
            batch: Rows of pieces.
            edits: As in `forward`.

        Returns:
            Float32 logits of the piece at every slot (masked language models) or after it (causal ones).

        Raises:
            ModelError: The model was loaded without its head, or an edit has another shape than its site.
        """
        if self.config.head is None:
            raise ModelError(f"{self.name} was loaded without its head. Load it with head=True.")
        stack.check_edits(self.config, edits or {})
        return stack.predict_pieces(self.graph, params, batch, edits)

    def save(self, folder: str | Path) -> None:
        """Writes the model in our own format, which `load_model` opens again on any mesh.

        Args:
            folder: Made if it is not there; a model saved there before is replaced.
        """
        facts = {"random_weights": self.random_weights, "fingerprint": self.fingerprint, "max_pieces": self.max_pieces}
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
        for site in SITES:
            count, width = self.layer_count(site), self.width(site)
            notes = self._describe_heads() if site == "attention" else ""
            rows.append((site, f"0-{count - 1}", f"{width:,}", f"{count * width:,}", notes))
        table = (
            f"  {site:<10}{layers:>7}{width:>8}{neurons:>10}  {notes}".rstrip()
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

    def _describe_heads(self) -> str:
        attention = self.config.attention
        shared = "" if attention.key_heads == attention.heads else f", {attention.key_heads} key heads"
        return f"{attention.heads} heads of {attention.head_width}{shared}"

    def _describe_head(self) -> str:
        if self.config.head is None:
            return "not loaded"
        tied = "tied to the embedding" if self.config.head.tied else "with its own vectors"
        return f"loaded, logits of {self.config.embedding.vocabulary:,} pieces, {tied}"


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
        head: Whether the language model's head is wanted too, for `Model.logits`. Sentence encoders have none.
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
    if head and config.head is None:
        raise ModelError(f"{folder}: of a {config.family!r} model only the encoder is run, which has no head.")
    config = config if head else replace(config, head=None)
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
    )


def _fingerprint(config: StackConfig, weights: str, tokenizer: str) -> str:
    parts = (json.dumps(asdict(config), sort_keys=True), weights, tokenizer)
    return hashlib.sha256(b"".join(hashlib.sha256(part.encode()).digest() for part in parts)).hexdigest()
