"""One run as one record: what is read, what is asked, where it goes. The fields are also the options of `lca run`.

What does not depend on there being a test set, an `Inquiry`, are the options of `lca study` too.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Annotated, Literal, get_args

import tyro

from lca_jax.axes import Site
from lca_jax.errors import SettingsError, StoreError
from lca_jax.probing.objective import ElasticNet
from lca_jax.store.recipe import Pool, unit_of

Step = Literal["extract", "probe", "rank", "ablate", "report"]
STEPS: tuple[Step, ...] = get_args(Step)
"""The steps of a run, in their order."""


@dataclass(frozen=True, kw_only=True)
class Inquiry:
    """What is read of which texts by which model, and which probes are fitted to it: what a run and a study share.

    Never made by itself: an `Experiment` or a `Study` is one.
    """

    model: str
    """A hub name or a local Hugging Face folder."""
    train: Path
    """Training words: CoNLL-U, columns (CoNLL-2000, Parallel Meaning Bank), tab-separated sentences, JSON lines; `.gz`
    is read as it is."""
    dev: Path | None = None
    """Words on which every choice is made. Without it, the last tenth of the training sentences is taken for that."""
    tasks: Annotated[Sequence[str], tyro.conf.arg(name="task"), tyro.conf.UseAppendAction] = ()
    """A label column, `upos` if none is named: `upos`, `xpos`, `deprel`, `feats:KEY`, or a column number or name of a
    column file. May be repeated. In files with a sentence a row they are labels of sentences."""
    heads: str | None = None
    """The label column with the number of each word's head (`head` of CoNLL-U): probes then read the neurons of the
    head and of the word together, twice as many, as is done for `deprel`."""
    unlabelled_as: str | None = None
    """A class for words without the feature of a `feats:KEY` task; by default they are masked."""
    max_train_words: int | None = None
    """Only the first sentences of train, up to this many words."""
    max_train_per_class: int | None = None
    """Of train, at most so many words (or sentences) of each class of each task, drawn with the seed."""
    labelled_only: bool = False
    """Stores no vector of words (or sentences) without a label of any of the tasks."""
    sites: Sequence[Site] = ("residual",)
    """Places in the network whose neurons are ranked."""
    layers: Sequence[int] | None = None
    """Layers, by the model's own numbers; all by default."""
    neurons: Sequence[int] | None = None
    """Only these neurons of every layer, by their indices; all by default."""
    pool: Pool | None = None
    """Which pieces make a word's vector: `last` by default, as in the papers, `first`, `mean` or `max`; `none` probes
    every piece. For labels of sentences `sentence-mean` by default, or `cls`."""
    dtype: Literal["float32", "bfloat16", "float16"] = "float32"
    """How activations are stored."""
    statistics: bool = False
    """Gathers means, variances, covariances and quantiles of the neurons beside the activations, which
    `store.statistics()` then has; of stores that are there already, by reading them once."""
    random_weights: int | None = None
    """A seed: the same architecture untrained, as a baseline."""
    probe: ElasticNet = field(default_factory=ElasticNet)
    """Penalties and solver."""
    select: Literal["score", "accuracy"] = "score"
    """How the penalty is chosen on dev: the papers' score S, or accuracy with all neurons."""
    seed: int = 0
    """Of everything that is drawn: the control task, words of a class, random sets and samples, mini-batches."""

    def __post_init__(self) -> None:
        if not self.tasks:
            object.__setattr__(self, "tasks", ("upos",))
        for name in ("tasks", "sites", "layers", "neurons"):
            value = getattr(self, name)
            object.__setattr__(self, name, None if value is None else tuple(value))
        if len(set(self.tasks)) != len(self.tasks):
            raise SettingsError(f"`tasks` must name different label columns, got {list(self.tasks)}.")
        for name in ("max_train_words", "max_train_per_class"):
            if (limit := getattr(self, name)) is not None and limit < 1:
                raise SettingsError(f"`{name}` must be 1 or more, got {limit}.")
        if self.heads in self.tasks:
            raise SettingsError(f"`{self.heads}` cannot be a task and the heads of words at once. Name other tasks.")
        if self.heads is not None and (self.max_train_per_class is not None or self.labelled_only):
            raise SettingsError("With `heads` all words are read, since any may be a head: choose no part of them.")
        if self.heads is not None and self.pool is not None and unit_of(self.pool) != "word":
            raise SettingsError(f"`heads` are words, but with pool={self.pool!r} rows are {unit_of(self.pool)}s.")
        if self.seed < 0:
            raise SettingsError(f"`seed` must be 0 or more, got {self.seed}.")
        object.__setattr__(self, "probe", replace(self.probe, seed=self.seed))


@dataclass(frozen=True, kw_only=True)
class Experiment(Inquiry):
    """A whole Linguistic Correlation Analysis of one model on one corpus."""

    test: Path
    """Words on which the results are measured, once."""
    out: Path
    """The run folder. Started again, finished steps are skipped and changed ones done anew."""
    fractions: Sequence[float] = (0.05, 0.1, 0.15, 0.2)
    """Shares of the neurons kept in the curves, in (0, 1]."""
    draws: int = 5
    """Random sets behind each point of the curves, 2 or more."""
    drop: float = 0.01
    """Accuracy that the minimal set may lose, as a fraction."""

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "fractions", tuple(self.fractions))
        if not self.fractions or any(not 0 < fraction <= 1 for fraction in self.fractions):
            raise SettingsError(f"`fractions` must each be in (0, 1], got {list(self.fractions)}. One fifth is 0.2.")
        if self.draws < 2:
            raise SettingsError(f"`draws` must be 2 or more, or there is no spread to report; got {self.draws}.")
        if not 0 <= self.drop < 1:
            raise SettingsError(f"`drop` must be in [0, 1), got {self.drop}. One point of accuracy is 0.01.")

    def as_json(self) -> dict[str, object]:
        """Plain values, for `config.json`; paths are made absolute."""
        plain = asdict(self)
        for name in ("train", "dev", "test", "out"):
            plain[name] = None if plain[name] is None else str(Path(plain[name]).absolute())
        return json.loads(json.dumps(plain, default=list))

    @classmethod
    def from_json(cls, content: Mapping[str, object]) -> "Experiment":
        """The inverse of `as_json`."""
        known = {item.name for item in fields(cls)}
        unknown = sorted(set(content) - known)
        if unknown:
            raise SettingsError(f"Unknown settings {', '.join(unknown)}. Known: {', '.join(sorted(known))}.")
        values: dict[str, object] = dict(content)
        for name in ("train", "dev", "test", "out"):
            values[name] = None if values.get(name) is None else Path(str(values[name]))
        probe = content["probe"]
        if not isinstance(probe, Mapping):
            raise SettingsError(f"`probe` must be a table of settings, got {probe!r}.")
        values["probe"] = ElasticNet.from_json(probe)
        return cls(**values)  # pyright: ignore[reportArgumentType] - plain JSON, checked by __post_init__


@dataclass(frozen=True, kw_only=True)
class Study(Inquiry):
    """Many tasks of one model on one treebank."""

    out: Path
    """Folder of the results, reached by all processes. What is extracted there already is not extracted again."""
    replicates: int = 0
    """Bootstrap samples of the sentences on which everything is fitted once more."""
    by_layer: bool = False
    """Fit a probe of every layer instead of one of all neurons."""
    matrix_dtype: Literal["float32", "bfloat16"] = "float32"
    """In which the words lie on the devices while they are solved for."""
    split_over: int = 1
    """Devices that share the columns, for very wide matrices."""
    stream: bool | None = None
    """Read the words at every iteration instead of holding them; by default the memory at hand decides."""
    stored: bool = True
    """Write the activations into `--out`. Otherwise the model computes them whenever they are read, which is once a fit
    where the words are held: for studies whose stores would fit no disk."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.statistics and not self.stored:
            raise SettingsError("`statistics` are kept with the activations, which `stored=False` writes nowhere.")
        if self.replicates < 0:
            raise SettingsError(f"`replicates` must be 0 or more, got {self.replicates}.")


def read_experiment(folder: Path) -> Experiment:
    """The experiment of a run folder.

    Raises:
        StoreError: The folder has no `config.json`.
    """
    try:
        content = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise StoreError(
            f"{folder} is no run folder (config.json is missing). Make one with `lca run … --out {folder}`."
        ) from None
    return replace(Experiment.from_json(content), out=folder)
