"""What a store is made from, and what it holds: the two records that stand in `manifest.json`.

Two stores with the same `Recipe` hold the same numbers (to the tolerance between machines), whatever their files are
called: a run goes on from its last whole shard, or finds its store finished, exactly when the recipes are equal. Names,
versions and the machine are written down in the `Manifest` beside it and decide nothing.
"""

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from typing import Literal, get_args

from lca_jax.axes import LayerBlock, NeuronAxis
from lca_jax.errors import SettingsError, StoreError

StoreDtype = Literal["float32", "bfloat16", "float16"]
Pool = Literal["last", "first", "mean", "max", "none", "cls", "sentence-mean"]
"""`last`, `first`, `mean`, `max`: which pieces make a word's vector. `none`: every piece is a row, with the labels of
its word. `cls`, `sentence-mean`: a row a sentence, the tokenizer's special piece for it (the first one, where none is
marked) or the mean over the pieces of its words."""

Unit = Literal["word", "piece", "sentence"]
"""What a row of a store is."""


@dataclass(frozen=True, kw_only=True)
class WordChoice:
    """What is read of a corpus; by default everything."""

    labelled: Sequence[str] = ()
    """Tasks: only words that have a label of one of them."""
    per_class: int | None = None
    """Most words of each class of each of these tasks (of all tasks, if none is named), drawn at random. A word drawn
    for one task is read with its labels of the others."""
    seed: int = 0
    """Of the draw, which depends on the seed, the task, its classes and the labels alone."""
    max_sentences: int | None = None
    """Only so many sentences, the first ones."""
    max_words: int | None = None
    """Only the first sentences that together have at most so many words, labelled or not."""
    special_pieces: bool = False
    """Whether the special pieces around a sentence are rows too, without labels; where every piece is a row."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "labelled", tuple(sorted(set(self.labelled))))
        for name in ("per_class", "max_sentences", "max_words"):
            if (value := getattr(self, name)) is not None and value < 1:
                raise SettingsError(f"`{name}` must be 1 or more, got {value}. Leave it out for no limit.")
        if self.seed < 0:
            raise SettingsError(f"`seed` must be 0 or more, got {self.seed}.")
        if self.per_class is None:  # then nothing is drawn, and the seed decides nothing
            object.__setattr__(self, "seed", 0)

    def __str__(self) -> str:
        """What differs from everything."""
        default = WordChoice()
        said = {name: value for name, value in vars(self).items() if value != getattr(default, name)}
        return ", ".join(f"{name}={value!r}" for name, value in said.items()) or "everything"


@dataclass(frozen=True, kw_only=True)
class SiteShape:
    """The layers read at one site."""

    layers: tuple[int, ...]
    """The model's own numbers; the array's second axis is in this order."""
    width: int
    """Neurons held of each layer."""
    neurons: tuple[int, ...] | None = None
    """Which ones these are, by the model's own numbers; None for all of the layer."""


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """Everything that determines the arrays of a store."""

    model: str
    """Fingerprint of weights, configuration and tokenizer; of the file, where another program made the vectors."""
    corpus: str
    """Fingerprint of the words and labels."""
    words: int
    """Rows of every array: the words that are read, or pieces or sentences where these are pooled."""
    sites: Mapping[str, SiteShape]
    """What is read, in the order of the feature columns."""
    dtype: StoreDtype
    """Type of the stored numbers; `float32` keeps what the model computed, the others take half the space."""
    pool: Pool
    """Which pieces make the vector of a row, and what a row is."""
    edits: str | None
    """Fingerprint of the edits made inside the model, if any."""
    longest_window: int
    """Pieces the model sees at once, its special pieces included; longer sentences are cut. 0 where another program
    made the vectors."""
    row_length: int
    """Pieces of one packed row; windows longer than that have longer rows. 0 where another program made the vectors."""
    shard_words: int
    """Rows in one shard."""
    tokenizer: str | None = None
    """Fingerprint of the tokenizer alone, so that a change of it is told from one of the weights; None for vectors that
    were made elsewhere."""
    choice: WordChoice = field(default_factory=WordChoice)
    """Which words of the corpus are read."""
    derived: str | None = None
    """How the rows were made of those of another store, and the fingerprint of that store's recipe."""

    def __post_init__(self) -> None:
        for name, known in (("dtype", get_args(StoreDtype)), ("pool", get_args(Pool))):
            if getattr(self, name) not in known:
                raise SettingsError(f"`{name}` must be one of {', '.join(known)}, got {getattr(self, name)!r}.")

    @property
    def unit(self) -> Unit:
        """What a row is."""
        return unit_of(self.pool)

    @property
    def fingerprint(self) -> str:
        """SHA-256 over all fields."""
        return hashlib.sha256(json.dumps(self.as_json(), sort_keys=True).encode()).hexdigest()

    @property
    def axis(self) -> NeuronAxis:
        """Which neuron each column is where all layers are put side by side."""
        return self.axis_of((site, shape.layers) for site, shape in self.sites.items())

    def axis_of(self, chosen: Iterable[tuple[str, Sequence[int]]]) -> NeuronAxis:
        """The same of some sites and layers that are held, in their order."""
        blocks = []
        for site, layers in chosen:
            held = self.sites[site]
            blocks += [LayerBlock(site, layer, held.width, held.neurons) for layer in layers]
        return NeuronAxis(blocks=tuple(blocks))

    @property
    def shard_count(self) -> int:
        """Shards of every array; the last one may be shorter."""
        return -(-self.words // self.shard_words)

    def shard_range(self, shard: int) -> tuple[int, int]:
        """First word of one shard, and the word after its last."""
        return shard * self.shard_words, min(self.words, (shard + 1) * self.shard_words)

    def refuse_other(self, asked: "Recipe", *, place: str) -> None:
        """Lets a store be used again only by a run that asks for the same.

        Raises:
            StoreError: The recipes differ; the message names every setting that does, with both values.
        """
        pairs = ((field.name, getattr(self, field.name), getattr(asked, field.name)) for field in fields(self))
        found = [f"{name}: held {_brief(held)}, asked {_brief(want)}" for name, held, want in pairs if held != want]
        if found:
            raise StoreError(
                f"{place} was made from something else: {'; '.join(found)}. "
                "Give another folder, or delete this one to make it anew."
            )

    def as_json(self) -> Mapping[str, object]:
        """A plain dictionary, the sites as a list since their order counts."""
        sites = [{"site": site, **asdict(shape)} for site, shape in self.sites.items()]
        plain = {field.name: getattr(self, field.name) for field in fields(self)}
        return plain | {"sites": sites, "choice": asdict(self.choice)}

    @classmethod
    def from_json(cls, content: dict) -> "Recipe":
        """The inverse of `as_json`."""
        settings = dict(content)
        settings["sites"] = {shape["site"]: _site_shape(shape) for shape in content["sites"]}
        settings["choice"] = WordChoice(**content.get("choice", {}))
        return cls(**settings)


def unit_of(pool: Pool) -> Unit:
    """What a row is."""
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
    """A fingerprint by its first digits, sites by their layers, choices by what they choose, else as it is."""
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
