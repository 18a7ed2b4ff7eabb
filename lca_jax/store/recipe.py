"""What a store is made from, and what it holds: the two records that stand in `manifest.json`.

Two stores with the same `Recipe` hold the same numbers (to the tolerance between machines), whatever their files are
called: a run goes on from its last whole shard, or finds its store finished, exactly when the recipes are equal. Names,
versions and the machine are written down in the `Manifest` beside it and decide nothing.
"""

import hashlib
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from importlib import metadata
from typing import Literal, get_args

from lca_jax.axes import LayerBlock, NeuronAxis
from lca_jax.errors import SettingsError, StoreError
from lca_jax.extraction.choice import WordChoice

FORMAT = 2
"""Number of the folder format; a reader refuses any other. 2: the manifest has a checksum of its own."""

StoreDtype = Literal["float32", "bfloat16", "float16"]
Pool = Literal["last", "first", "mean", "max", "none", "cls", "sentence-mean"]
"""`last`, `first`, `mean`, `max`: which pieces make a word's vector. `none`: every piece is a row, with the labels of
its word. `cls`, `sentence-mean`: a row a sentence, the tokenizer's special piece for it (the first one, where none is
marked) or the mean over the pieces of its words."""

Unit = Literal["word", "piece", "sentence"]
"""What a row of a store is."""

_CHECKSUM = re.compile(r'(?<=\n "checksum": ")([0-9a-f]{64})(?=")')
"""A key of the outermost level begins a line and is indented by one; no string holds a line break."""

_NO_CHECKSUM = 64 * "0"

_PACKAGES = ("lca-jax", "jax", "flax", "numpy", "pyarrow", "tensorstore", "tokenizers", "transformers")


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


@dataclass(frozen=True, kw_only=True)
class FileRecord:
    """Size and checksum of one file of a store."""

    size_bytes: int
    sha256: str

    @classmethod
    def of(cls, content: bytes) -> "FileRecord":
        """The record of these bytes."""
        return cls(size_bytes=len(content), sha256=hashlib.sha256(content).hexdigest())


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """What a whole store says about itself."""

    recipe: Recipe
    """What determined the arrays."""
    names: Mapping[str, str]
    """Names of `model`, `tokenizer` and `corpus`."""
    counts: Mapping[str, int]
    """`sentences` of the corpus, `words` (the rows), and `vectors`: the rows that have one."""
    excluded: Mapping[str, int]
    """Words (or pieces or sentences) without a vector, by reason; those that were not chosen have no row either."""
    skipped: Mapping[str, int]
    """What the corpus reader passed over as no word, by reason."""
    machine: Mapping[str, str | int]
    """Where the run was finished."""
    versions: Mapping[str, str]
    """Packages the run was finished with."""
    files: Mapping[str, FileRecord]
    """Every other file of the store; empty in memory."""
    format: int = FORMAT
    """Number of the folder format."""

    def to_text(self) -> str:
        """JSON with one key a line, so that two manifests can be compared by eye.

        `checksum` is the SHA-256 of the text with 64 zeros in its place.
        """
        content = {field.name: getattr(self, field.name) for field in fields(self)}
        content |= {
            "checksum": _NO_CHECKSUM,
            "recipe": self.recipe.as_json(),
            "files": {name: asdict(record) for name, record in sorted(self.files.items())},
        }
        text = json.dumps(content, indent=1, sort_keys=True, ensure_ascii=False) + "\n"
        return _CHECKSUM.sub(_text_checksum(text), text, count=1)

    @classmethod
    def from_text(cls, text: str | bytes, *, place: str) -> "Manifest":
        """Reads a manifest.

        Raises:
            StoreError: It has another format number, breaks its format, or was altered since it was written.
        """
        try:
            content = json.loads(text)
            found = content["format"]
            checksum = content.pop("checksum", None)
            unaltered = checksum == _text_checksum(text if isinstance(text, str) else text.decode())
            if found == FORMAT and unaltered:
                content["recipe"] = Recipe.from_json(content["recipe"])
                content["files"] = {name: FileRecord(**record) for name, record in content["files"].items()}
                return cls(**content)
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise StoreError(f"{place}/manifest.json breaks its format ({error!r}). Make the store anew.") from None
        if not unaltered and (found == FORMAT or checksum is not None):
            raise StoreError(
                f"{place}/manifest.json was altered since it was written: its checksum does not fit its text. "
                "Restore it from a copy, or delete the folder and extract again."
            )
        raise StoreError(
            f"{place} has format {found}, this version of lca_jax reads format {FORMAT}. "
            "Read it with the version named in its manifest, or make it anew."
        )


def _text_checksum(text: str) -> str:
    """Of a manifest, whatever checksum stands in it."""
    return hashlib.sha256(_CHECKSUM.sub(_NO_CHECKSUM, text, count=1).encode()).hexdigest()


def unit_of(pool: Pool) -> Unit:
    """What a row is."""
    if pool == "none":
        return "piece"
    return "sentence" if pool in ("cls", "sentence-mean") else "word"


def package_versions() -> dict[str, str]:
    """Versions of the packages that a stored number may depend on."""
    installed = {distribution.metadata["Name"].lower(): distribution.version for distribution in _installed()}
    return {name: installed.get(name, "not installed") for name in _PACKAGES}


def _installed() -> list[metadata.Distribution]:
    found = []
    for name in _PACKAGES:
        try:
            found.append(metadata.distribution(name))
        except metadata.PackageNotFoundError:
            continue
    return found


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
