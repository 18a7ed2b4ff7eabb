"""The recipe of a store: everything that determines its numbers.

Two stores with the same `Recipe` hold the same numbers (to the tolerance between machines), whatever their files are
called. A run goes on from the last whole shard of a store, or finds the store finished, if and only if the recipes are
equal. Names, versions and the machine stand beside the recipe in the `Manifest` and decide nothing.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from typing import Literal, get_args

from lca_jax.axes import LayerBlock, NeuronAxis
from lca_jax.errors import SettingsError, StoreError
from lca_jax.machine.checksums import checksum_of
from lca_jax.machine.fields import check_fields
from lca_jax.text.other_pieces import tell_cutting_versions, tell_other_pieces

StoreDtype = Literal["float32", "bfloat16", "float16"]
"""Type of the stored numbers."""
Pool = Literal["last", "first", "mean", "max", "none", "cls", "sentence-mean"]
"""How pieces make units. `last`, `first`, `mean`, `max`: units are words, made of these pieces. `none`: each piece is a
unit, with the labels of its word. `cls`, `sentence-mean`: units are sentences, read from the tokenizer's special piece
for them (the first special piece, if none is marked) or as the mean over the pieces of their words."""

Unit = Literal["word", "piece", "sentence"]
"""What one entry of a store is."""


@dataclass(frozen=True, kw_only=True)
class WordChoice:
    """Settings: which words, pieces or sentences of a corpus are read; all by default."""

    labelled: Sequence[str] = ()
    """Tasks; only words that have a label in at least one of them are read."""
    per_class: int | None = None
    """Maximum number of words of each class of each of these tasks (of all tasks, if none is named), drawn at random. A
    word drawn for one task is read with its labels of the others."""
    seed: int = 0
    """Seed of the draw, which depends on the seed, the task, its classes and the labels alone."""
    max_sentences: int | None = None
    """At most this many sentences, from the start."""
    max_words: int | None = None
    """Only the first sentences that together have at most this many words, labelled or not."""
    special_pieces: bool = False
    """Whether the special pieces around a sentence are units too, without labels; only where every piece is a unit."""

    def __post_init__(self) -> None:
        check_fields(self)
        object.__setattr__(self, "labelled", tuple(sorted(set(self.labelled))))
        for name in ("per_class", "max_sentences", "max_words"):
            if (value := getattr(self, name)) is not None and value < 1:
                raise SettingsError(f"`{name}` must be 1 or more, got {value}. Leave it out for no limit.")
        if self.seed < 0:
            raise SettingsError(f"`seed` must be 0 or more, got {self.seed}.")
        if self.per_class is None:  # then nothing is drawn, and the seed decides nothing
            object.__setattr__(self, "seed", 0)

    def __str__(self) -> str:
        """Returns the settings that differ from the defaults."""
        default = WordChoice()
        changed = {name: value for name, value in vars(self).items() if value != getattr(default, name)}
        return ", ".join(f"{name}={value!r}" for name, value in changed.items()) or "everything"


@dataclass(frozen=True, kw_only=True)
class SiteShape:
    """The layers and neurons that are read at one site."""

    layers: tuple[int, ...]
    """Layers by the model's own numbers, in the order of the array's second axis."""
    width: int
    """Number of neurons of each layer."""
    neurons: tuple[int, ...] | None = None
    """Neurons by the model's own numbers, in the order of the array's third axis; None for all neurons of a layer."""


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """Everything that determines the arrays of a store."""

    model: str
    """Fingerprint of weights, configuration and tokenizer; of the file, where another program made the vectors."""
    corpus: str
    """Fingerprint of the words and labels."""
    words: int
    """Number of units: the words that are read, or pieces or sentences where these are pooled."""
    sites: Mapping[str, SiteShape]
    """Sites, in the order of the feature columns."""
    dtype: StoreDtype
    """Type of the stored numbers; `float32` keeps what the model computed, the others take half the space."""
    pool: Pool
    """How pieces make units."""
    edits: str | None
    """Fingerprint of the edits made inside the model; None without edits."""
    longest_window: int
    """Number of pieces that the model sees at once, special pieces included; longer sentences are cut. 0 where another
    program made the vectors."""
    row_length: int
    """Number of pieces in one packed row; windows longer than that have longer rows. 0 where another program made the
    vectors."""
    shard_words: int
    """Number of units in one shard."""
    tokenizer: str | None = None
    """Fingerprint of the tokenizer alone, so that a changed tokenizer is told from changed weights; None where another
    program made the vectors."""
    choice: WordChoice = field(default_factory=WordChoice)
    """The words of the corpus that are read."""
    derived: str | None = None
    """How the units were made of those of another store, and the fingerprint of that store's recipe."""
    pieces: Mapping[str, str] | None = None
    """Pieces of the words of `text.reference`, which another version of a package may cut otherwise; None where another
    program or an earlier version made the vectors, which does not say."""

    def __post_init__(self) -> None:
        for name, known in (("dtype", get_args(StoreDtype)), ("pool", get_args(Pool))):
            if getattr(self, name) not in known:
                raise SettingsError(f"`{name}` must be one of {', '.join(known)}, got {getattr(self, name)!r}.")
        check_fields(self)

    @property
    def unit(self) -> Unit:
        """Kind of the units."""
        return unit_of(self.pool)

    @property
    def fingerprint(self) -> str:
        """SHA-256 over all fields."""
        return checksum_of(json.dumps(self.as_json(), sort_keys=True).encode())

    @property
    def axis(self) -> NeuronAxis:
        """The neuron of each column where all layers are put side by side."""
        return self.axis_of({site: shape.layers for site, shape in self.sites.items()})

    def axis_of(self, chosen: Mapping[str, Sequence[int]]) -> NeuronAxis:
        """Returns the neuron of each column where some layers are put side by side, in the order of `chosen`."""
        blocks = []
        for site, layers in chosen.items():
            shape = self.sites[site]
            blocks += [LayerBlock(site, layer, shape.width, shape.neurons) for layer in layers]
        return NeuronAxis(blocks=tuple(blocks))

    @property
    def shard_count(self) -> int:
        """Number of shards of every array; the last shard may be shorter."""
        return -(-self.words // self.shard_words)

    def shard_range(self, shard: int) -> tuple[int, int]:
        """Returns the number of a shard's first word, and that of the word after its last."""
        return shard * self.shard_words, min(self.words, (shard + 1) * self.shard_words)

    def refuse_other(self, requested: "Recipe", *, place: str, made_with: Mapping[str, str]) -> None:
        """Lets a store of this recipe be used only by a run that requests the same.

        Args:
            requested: Recipe of the run.
            place: Name of the store in the message.
            made_with: Versions of the packages that the store was begun or finished with.

        Raises:
            StoreError: The recipes differ; the message names every setting that does, with both values. Where texts are
                cut into other pieces, it shows one, and tells the versions that made them.
        """
        pairs = ((field.name, getattr(self, field.name), getattr(requested, field.name)) for field in fields(self))
        found = [
            f"{name}: the store has {_brief(ours)}, requested {_brief(theirs)}"
            for name, ours, theirs in pairs
            if ours != theirs and name != "pieces"
        ]
        if told := tell_other_pieces(self.pieces, requested.pieces):
            found.append(f"pieces: {told}")
        if found:
            of_model = self.pieces is not None and (told or self.tokenizer != requested.tokenizer)
            versions = tell_cutting_versions(made_with) if of_model else None
            raise StoreError(
                f"{place} was made from something else: {'; '.join(found)}. "
                f"{f'It was made with {versions}. ' if versions else ''}"
                "Give another folder, or delete this one to make it anew."
            )

    def as_json(self) -> Mapping[str, object]:
        """Returns a plain dictionary, with the sites as a list since their order counts."""
        sites = [{"site": site, **asdict(shape)} for site, shape in self.sites.items()]
        plain = {field.name: getattr(self, field.name) for field in fields(self)}
        if self.pieces is None:  # so that recipes from before it was kept have their fingerprint still
            del plain["pieces"]
        return plain | {"sites": sites, "choice": asdict(self.choice)}

    @classmethod
    def from_json(cls, content: dict) -> "Recipe":
        """Reads what `as_json` returned."""
        settings = dict(content)
        settings["sites"] = {shape["site"]: _site_shape(shape) for shape in content["sites"]}
        settings["choice"] = WordChoice(**content.get("choice", {}))
        return cls(**settings)


def unit_of(pool: Pool) -> Unit:
    """Returns the kind of units that a way of pooling makes."""
    if pool == "none":
        return "piece"
    return "sentence" if pool in ("cls", "sentence-mean") else "word"


def _site_shape(content: Mapping) -> SiteShape:
    neurons = content.get("neurons")
    return SiteShape(
        layers=tuple(content["layers"]),
        width=content["width"],
        neurons=None if neurons is None else tuple(neurons),
    )


def _brief(value: object) -> str:
    """Returns a value for a message: a fingerprint by its first digits, sites by their layers, others in full."""
    if isinstance(value, WordChoice):
        return str(value)
    if isinstance(value, str) and len(value) == 64:
        return value[:12] + "…"
    if isinstance(value, Mapping):
        return ", ".join(f"{site} {list(shape.layers)} of {_brief_width(shape)}" for site, shape in value.items())
    return repr(value)


def _brief_width(shape: SiteShape) -> str:
    if shape.neurons is None:
        return str(shape.width)
    named = ", ".join(map(str, shape.neurons[:5])) + (", …" if shape.width > 5 else "")
    return f"{shape.width} chosen ({named})"
