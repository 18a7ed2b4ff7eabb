"""A model as the rest of the package sees it: a pure `forward`, its parameters, its tokenizer and its identity.

Compiling, sharding and batching are left to the caller, who jits `forward`. `load` opens models.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property, partial
from html import escape
from pathlib import Path

import jax
import numpy as np
from flax import nnx
from jax.sharding import Mesh
from jaxtyping import Array, Float

from lca_jax.errors import ModelError
from lca_jax.hugging_face import PreTrainedTokenizer, PreTrainedTokenizerFast, special_piece
from lca_jax.machine.checksums import checksum_of
from lca_jax.models.classifier import Classifier
from lca_jax.models.description import describe_sizes, sites_table
from lca_jax.models.loading.folders import tokenizer_content
from lca_jax.models.loading.identity import HashedParams, fingerprint_of, refuse_unlike
from lca_jax.models.loading.saving import write_model
from lca_jax.models.stack import stack
from lca_jax.models.stack.config import StackConfig
from lca_jax.models.stack.log_probabilities import log_probabilities
from lca_jax.models.stack.stack import Batch, Params, Stack
from lca_jax.models.stack.taps import Edit, check_edits
from lca_jax.models.writing.generation import Generation, Search, TextRules, check_writer, write_pieces, write_texts
from lca_jax.models.writing.search import GeneratedPieces
from lca_jax.tables import html_table, text_table

_write_pieces = jax.jit(write_pieces, static_argnames=("graph", "rules", "search"))


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class Model:
    """A loaded transformer. Compared by identity; two loads of the same model share their `fingerprint`."""

    name: str
    """The folder or the hub name that it was loaded from, as the caller gave it."""
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
    max_pieces: int
    """Maximum number of pieces in a window, special pieces included."""
    rules: TextRules
    """How the texts that it writes begin and end."""
    classifier: Classifier | None = None
    """The head that `tune` trained for a task, with the parameters of this model; None where there is none. No
    activation depends on it, and so the fingerprint does not either."""
    hashed: HashedParams | None = None
    """The hash of the parameters, if it was made while they were read. It holds for these very arrays alone."""

    @property
    def fingerprint(self) -> str:
        """SHA-256 over config, parameters and tokenizer: equal for equal activations.

        It is that of the parameters that the model has now, also after `dataclasses.replace`.
        """
        if self.hashed is None or not self.hashed.is_of(self.params):
            object.__setattr__(self, "hashed", HashedParams.of(self.params))
        assert self.hashed is not None
        return fingerprint_of(self.config, self.hashed.digest, self._tokenizer_checksum)

    @cached_property
    def _tokenizer_checksum(self) -> str:
        return checksum_of(tokenizer_content(self.tokenizer).encode())

    def with_params(self, params: Params) -> "Model":
        """Returns the same model with other parameters, such as tuned ones; its fingerprint is theirs.

        A classifier is not taken over, since it was trained for the old ones.

        Args:
            params: Parameters in the structure, shapes and precision of `self.params`.

        Raises:
            ModelError: They have another structure, shape or precision; the message names the first difference.
        """
        refuse_unlike(self.params, params)
        return replace(self, params=params, random_weights=None, classifier=None, hashed=None)

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
            batch: Rows of pieces. Results in padding slots have no meaning.
            edits: Site to scale and shift, (layer, neuron) each, for every layer of that site, in the slots `where`.
                Traced: new values do not recompile. Map over a leading axis with `jax.vmap` or `jax.lax.map`.
            sites: Sites to return.
            layers: Layer numbers for all of these sites, or a mapping from site to its layer numbers; None for all.
                Blocks above the last requested layer are not computed.
            targets: Rows of pieces for the decoder of an encoder-decoder: as many rows as `batch`, with windows of the
                same numbers in each. Only needed for sites of the decoder.

        Returns:
            Site to states after the edits, the layers in the requested order.

        Raises:
            SettingsError: The model does not have a site or layer of this number; the message lists those it has.
            ModelError: An edit is of another shape than its site, or `targets` are missing.
        """
        self._check_edits(edits, batch, targets)
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
            edits: Site to scale and shift, as in `forward`.
            targets: Rows of pieces for the decoder, as in `forward`.

        Returns:
            Float32 logits of the piece at every slot (masked language models) or after it (causal ones; in an
            encoder-decoder, of the slots of `targets`).

        Raises:
            SettingsError: An edit names a site that the model does not have.
            ModelError: The model was loaded without its head, an edit is of another shape than its site, or `targets`
                are missing.
        """
        self.check_head()
        self._check_edits(edits, batch, targets)
        return stack.predict_pieces(self.graph, params, batch, edits, targets=targets)

    def log_probabilities(
        self, params: Params, batch: Batch, edits: Mapping[str, Edit] | None = None, *, targets: Batch | None = None
    ) -> Float[Array, "row _slot"]:
        """Computes how likely each piece is; pure. No array (slot, vocabulary) is made. Arguments as in `logits`.

        Returns:
            Float32 log-probability, in nats, of the piece in each slot given those before it in its window (causal
            models, and `targets`, which begin with their start piece), or all others (masked models, one pass for each
            place of the longest window). 0 in padding and for a first piece that has none before it.

        Raises:
            SettingsError, ModelError: As in `logits`, or a masked model's tokenizer has no mask piece.
        """
        self.check_head()
        self._check_edits(edits, batch, targets)
        mask_piece = special_piece(self.tokenizer, "mask")
        return log_probabilities(self.graph, params, batch, edits, targets=targets, mask_piece=mask_piece)

    def write_pieces(
        self,
        params: Params,
        prompts: Batch,
        edits: Mapping[str, Edit] | None = None,
        *,
        search: Search | None = None,
        start: Sequence[int] | None = None,
    ) -> GeneratedPieces:
        """Continues prompts (causal models) or answers sources (encoder-decoders); pure, like `forward`.

        Args:
            params: `self.params`, or the same tree placed elsewhere.
            prompts: One window a row, from its first slot on.
            edits: Site to edit, as in `forward`; applied to the prompts and at every step. In the stack that writes,
                `where` has a column for every place of its texts: prompt (or `start`), then `search.longest` pieces.
            search: Maximum length of the texts, and how their pieces are chosen.
            start: The decoder's first pieces, instead of those in `rules`: where a model writes several languages, its
                start and the piece of the language.

        Raises:
            SettingsError: An edit names a site that the model does not have.
            ModelError: The model was loaded without its head or cannot write, an edit is of another shape than its
                site, or prompt and text are longer than its windows.
        """
        self.check_head()
        rules, search = self._rules_from(start), search or Search()
        rows, slots = prompts.piece_ids.shape
        alone = self.config.decoder is None
        read, written = (rows, slots + alone * search.longest), (rows, len(rules.start) + search.longest)
        check_edits(self.config, edits or {}, rows=read, targets=written)
        return write_pieces(self.graph, params, prompts, edits, rules=rules, search=search)

    def write(
        self,
        texts: Sequence[str],
        edits: Mapping[str, Edit] | None = None,
        *,
        search: Search | None = None,
        start: Sequence[int] | None = None,
        rows: int = 16,
    ) -> list[Generation]:
        """Continues texts, or translates them; compiles once for every length of prompts, in steps of 16 pieces.

        Args:
            texts: Prompts or sources.
            edits: Site to scale and shift, as in `forward`.
            search: Maximum length of the texts, and how their pieces are chosen.
            start: The decoder's first pieces, as in `write_pieces`.
            rows: Number of texts that are computed together; they are of similar length.

        Returns:
            One record for each text, in their order.

        Raises:
            SettingsError: An edit names a site that the model does not have.
            ModelError: As in `write_pieces`; or a text has no piece, or more than fit into a window.
        """
        self.check_head()
        check_edits(self.config, edits or {})
        rules, search = self._rules_from(start), search or Search()
        check_writer(self.config.decoder or self.config, slots=1, search=search)
        run = partial(_write_pieces, self.graph, self.params, edits=edits, rules=rules, search=search)
        longest, prompted = self.max_pieces, self.config.decoder is None
        if prompted:
            longest = min(longest, self.config.longest_window - search.longest + 1)
        return write_texts(texts, self.tokenizer, run, longest_prompt=longest, rows=rows, with_prompt=prompted)

    def check_head(self) -> None:
        """Raises a ModelError that says the way out, if the model was loaded without its head."""
        if self.config.language_head is None:
            raise ModelError(f"{self.name} was loaded without its head. Load it with head=True.")

    def _check_edits(self, edits: Mapping[str, Edit] | None, batch: Batch, targets: Batch | None) -> None:
        read, written = (None if one is None else np.shape(one.piece_ids) for one in (batch, targets))
        check_edits(self.config, edits or {}, rows=read, targets=written)

    def _rules_from(self, start: Sequence[int] | None) -> TextRules:
        return self.rules if start is None else replace(self.rules, start=tuple(start))

    def save(self, folder: str | Path) -> None:
        """Writes the model in our own format, which `load_model` opens again on any mesh.

        A model saved there before is replaced in one step: killed at any moment, the folder holds the old model or the
        new one.

        Args:
            folder: Where the model is written, a path or a URL; made if it does not exist.
        """
        facts = {name: getattr(self, name) for name in ("random_weights", "fingerprint", "max_pieces")}
        facts["rules"] = asdict(self.rules)
        write_model(Path(folder), self.config, self.params, self.tokenizer, facts, classifier=self.classifier)

    def layer_count(self, site: str) -> int:
        """Returns the number of layers at a site; `residual` counts the embedding output."""
        return self.config.layer_count(site)

    def width(self, site: str) -> int:
        """Returns the number of neurons in one layer of a site."""
        return self.config.site_width(site)

    def describe(self) -> str:
        """Returns a few lines for people: sites, layers, widths, head, sizes, devices, fingerprint."""
        table = text_table(sites_table(self.config)).splitlines()
        return "\n  ".join([self._headline(), *table, *self._sizes()])

    def __repr__(self) -> str:
        return self.describe()

    def _repr_html_(self) -> str:
        """Returns what a notebook shows: the table of sites, and the sizes below it."""
        sizes = "<br>".join(escape(line) for line in self._sizes())
        return f"{html_table(sites_table(self.config), caption=self._headline())}\n<p>{sizes}</p>"

    def _headline(self) -> str:
        weights = "trained weights" if self.random_weights is None else f"random weights, seed {self.random_weights}"
        return f"{self.name}: {self.config.family}, {weights}, {self.config.dtype}"

    def _sizes(self) -> list[str]:
        sizes = describe_sizes(self.config, self.params, max_pieces=self.max_pieces, mesh=self.mesh)
        classifier = [] if self.classifier is None else [f"classifier: {self.classifier.describe()}"]
        return [*sizes, *classifier, f"fingerprint {self.fingerprint}"]
