"""The settings of a run and of a study, each one record. Their fields are the options of `lca run` and `lca study`.

`Request` holds the settings that both have, `Experiment` adds those of a run, `Study` those of a study. The module
imports nothing that computes, so that `lca --help` and `lca show` need no JAX.
"""

import json
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Annotated, Literal, get_args

import tyro

from lca_jax.axes import Site
from lca_jax.errors import SettingsError, StoreError
from lca_jax.machine.fields import check_fields
from lca_jax.machine.files import real_path
from lca_jax.machine.json_text import read_object
from lca_jax.probing.halves import check_pairs
from lca_jax.probing.objective import ElasticNet
from lca_jax.store.recipe import Pool, unit_of
from lca_jax.text.annotate import split_option, with_file
from lca_jax.text.corpus import Corpus
from lca_jax.text.datasets import HUB
from lca_jax.text.options import TextOptions
from lca_jax.text.task_names import refuse_like_names

Step = Literal["extract", "probe", "rank", "ablate", "report"]
STEPS: tuple[Step, ...] = get_args(Step)
"""The steps of a run, in their order."""
RankingName = Literal["bagged", "mass"]
"""The rankings that a run can make; `rankings` has what is behind the names."""
_LIMITS = ("max_train_words", "max_dev_words", "max_test_words", "max_train_per_class")

PARTS = ("train", "dev", "test")
_A_FILE = tyro.conf.arg(constructor=Path, metavar="FILE", help_behavior_hint="(optional)")


@dataclass(frozen=True, kw_only=True)
class Request:
    """The settings that a run and a study share: model, texts, tasks, the neurons that are read, and the probes.

    It is never made by itself: an `Experiment` or a `Study` is one.
    """

    model: str
    """A hub name or a local Hugging Face folder."""
    train: Annotated[Path | Corpus, _A_FILE]
    """Training words: CoNLL-U, columns (CoNLL-2000, CoNLL-2003, Parallel Meaning Bank), tab-separated texts, CSV, JSON
    lines, each also as `.gz`; or a data set of Hugging Face, as hf:NAME or hf:NAME@SPLIT. In Python also a `Corpus`."""
    dev: Annotated[Path | Corpus | None, _A_FILE] = None
    """Words on which every choice is made; by default the last tenth of the training sentences."""
    texts: Annotated[TextOptions, tyro.conf.arg(name="")] = field(default_factory=TextOptions)
    """What the files do not say of themselves."""
    annotate: Annotated[Sequence[str], tyro.conf.UseAppendAction] = ()
    """A task from a list of words, one a line (NAME=FILE), or from a regular expression (NAME=/PATTERN/), with as many
    other words, drawn with the seed. May be repeated."""
    tasks: Annotated[Sequence[str], tyro.conf.arg(name="task"), tyro.conf.UseAppendAction] = ()
    """A label column, `upos` if none is named: `upos`, `xpos`, `deprel`, `feats:KEY`, or a column number or name of a
    column file; or `position`, the place of a word in its sentence. May be repeated. In files with one sentence per
    row the labels are those of sentences."""
    heads: str | None = None
    """The label column with the number of each word's head (`head` in CoNLL-U). Probes then read the neurons of the
    head and of the word together, twice as many, as `deprel` needs."""
    unlabelled_as: str | None = None
    """A class for words without the feature of a `feats:KEY` task; by default they are masked."""
    max_train_words: int | None = None
    """At most this many training words: whole sentences, drawn with the seed."""
    max_dev_words: int | None = None
    """At most this many dev words, drawn likewise."""
    max_train_per_class: int | None = None
    """At most this many training words (or sentences) of each class of each task, drawn with the seed."""
    labelled_only: bool = False
    """Store no vectors of words (or sentences) that have no label in any of the tasks."""
    sites: Sequence[Site] = ("residual",)
    """Places in the network whose neurons are ranked."""
    layers: Sequence[int] | None = None
    """Layers, by the model's own numbers; all by default."""
    neurons: Sequence[int] | None = None
    """The indices of the neurons that are read in every layer; all by default."""
    pool: Pool | None = None
    """The pieces that make a word's vector: `last` (the default, as in the papers), `first`, `mean` or `max`; `none`
    probes every piece. For labels of sentences: `sentence-mean` (the default) or `cls`."""
    dtype: Literal["float32", "bfloat16", "float16"] = "float32"
    """The number type of the stored activations."""
    statistics: bool = False
    """Gather means, variances, covariances and quantiles of the neurons beside the activations, for
    `store.statistics()`. Stores that exist already are read once for them."""
    random_weights: int | None = None
    """The seed of random weights: the same architecture untrained, as a baseline."""
    probe: ElasticNet = field(default_factory=ElasticNet)
    """The penalties and the solver. Their seed is that of the run."""
    select: Literal["one_se", "score", "accuracy"] = "one_se"
    """What the penalty is chosen by on dev: `one_se`, the strongest penalty within one standard error of the best
    accuracy; `score`, the papers' S; or `accuracy`, with all neurons."""
    seed: int = 0
    """The seed of all random draws: sentences of a limit, the control task, the words of a class, random sets, samples,
    intervals and mini-batches."""

    def __post_init__(self) -> None:
        check_fields(self)
        if not self.tasks and isinstance(self.train, Corpus):
            object.__setattr__(self, "tasks", self.train.sentence_tasks or self.train.tasks)
        if not self.tasks and not self.annotate:
            object.__setattr__(self, "tasks", ("upos",))
        for name in ("tasks", "sites", "layers", "neurons", "annotate"):
            value = getattr(self, name)
            object.__setattr__(self, name, None if value is None else tuple(value))
        refuse_like_names([*self.tasks, *(split_option(option)[0] for option in self.annotate)])
        if not self.model:
            raise SettingsError("`model` must be a hub name or a folder, got an empty text.")
        for name in _LIMITS:
            if (limit := getattr(self, name, None)) is not None and limit < 1:
                raise SettingsError(f"`{name}` must be 1 or more, got {limit}.")
        if self.heads in self.tasks:
            raise SettingsError(f"`{self.heads}` cannot be a task and the heads of words at once. Name other tasks.")
        if self.heads is not None and (self.max_train_per_class is not None or self.labelled_only):
            raise SettingsError(
                "With `heads` all words are read, since any of them may be a head. Leave out `labelled_only` and "
                "`max_train_per_class`."
            )
        if self.heads is not None and self.pool is not None and unit_of(self.pool) != "word":
            raise SettingsError(
                f"`heads` are words, but with pool={self.pool!r} units are {unit_of(self.pool)}s. Use another pool."
            )
        if self.seed < 0:
            raise SettingsError(f"`seed` must be 0 or more, got {self.seed}.")
        object.__setattr__(self, "probe", replace(self.probe, seed=self.seed))


@dataclass(frozen=True, kw_only=True)
class Experiment(Request):
    """The settings of a run: a whole Linguistic Correlation Analysis of one model on one corpus."""

    test: Annotated[Path | Corpus, _A_FILE]
    """Words on which the results are measured. No choice is made on them."""
    max_test_words: int | None = None
    """At most this many test words: whole sentences, drawn with the seed."""
    out: Path
    """The run folder. A run that starts again there repeats only what has changed or is not finished."""
    fractions: Sequence[float] = (0.05, 0.1, 0.15, 0.2)
    """Shares of the neurons that the curves keep, each in (0, 1]."""
    draws: int = 5
    """Number of random sets behind each point of the curves, 2 or more."""
    drop: float = 0.01
    """The share that the minimal set may lose, on dev, of the gain of all neurons over the best constant answer."""
    mdl: bool = False
    """Also measures the description length of the labels of task and control, by online codes: ten more fits each."""
    ranking: RankingName = "bagged"
    """How neurons are ranked: `bagged`, by the mean magnitude of their weights over classes and half-samples, near
    copies further down; or `mass`, by the weight mass of one probe, as the papers publish it."""
    replicates: int = 10
    """Number of half-samples of the training sentences, an even one, that every chosen probe is fitted to as well. They
    make the ranking `bagged`, and tell how far any ranking reproduces; with `mass`, 0 leaves them out."""
    methods: bool = False
    """Also ranks by every method on two thirds of the training sentences, each by itself, and measures the neurons of
    each on the last third: the page's figure of reliability and validity. About as dear as the rest of the run."""
    untrained: int | None = None
    """The seed of random weights of a second model, whose layers are measured as well; nothing of it is stored."""

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "fractions", tuple(self.fractions))
        if not self.fractions or any(not 0 < fraction <= 1 for fraction in self.fractions):
            raise SettingsError(f"`fractions` must each be in (0, 1], got {list(self.fractions)}. One fifth is 0.2.")
        if self.draws < 2:
            raise SettingsError(f"`draws` must be 2 or more, or random sets have no spread; got {self.draws}.")
        _check_replicates(self.replicates)
        check_pairs(self.replicates)
        if self.ranking == "bagged" and not self.replicates:
            raise SettingsError("The ranking `bagged` is a mean over half-samples. Give some, or ranking='mass'.")
        if not 0 <= self.drop < 1:
            raise SettingsError(f"`drop` must be in [0, 1), got {self.drop}. One hundredth of the gain is 0.01.")

    def command(self) -> str:
        """Returns the command of this run, with the base names of files, and without what is as by default."""
        words = ["lca", "run"]
        for prefix, settings in (("", self), ("", self.texts), ("probe.", self.probe)):
            for item in fields(settings):
                value = getattr(settings, item.name)
                if item.name in ("probe", "texts", "out") or (prefix and item.name == "seed"):
                    continue
                default = ("upos",) if item.name == "tasks" else item.default if item.default is not MISSING else None
                if value != (tuple(default) if isinstance(value, tuple) and isinstance(default, Sequence) else default):
                    words += _option(prefix + item.name, value)
        return shlex.join(words)

    def as_json(self) -> dict[str, object]:
        """Returns plain values for `config.json`, with absolute paths, also of a model that is a folder.

        Raises:
            SettingsError: A part is a `Corpus`; `run` writes it to a file first.
        """
        if held := [name for name in PARTS if isinstance(getattr(self, name), Corpus)]:
            raise SettingsError(f"`{held[0]}` is a corpus in memory, which has no place in a file of settings.")
        plain = asdict(self)
        for name in (*PARTS, "out"):
            plain[name] = None if plain[name] is None else _absolute(plain[name])
        if (folder := real_path(self.model)).is_dir():
            plain["model"] = str(folder)
        plain["annotate"] = [with_file(option, lambda file: str(real_path(file))) for option in self.annotate]
        return json.loads(json.dumps(plain, default=list))

    @classmethod
    def from_json(cls, content: Mapping[str, object]) -> "Experiment":
        """Makes the experiment that `as_json` returned the values of.

        Raises:
            SettingsError: A key is unknown, or a value is out of its range.
        """
        names = {item.name for item in fields(cls)}
        unknown = sorted(set(content) - names)
        if unknown:
            raise SettingsError(f"Unknown settings {', '.join(unknown)}. Known: {', '.join(sorted(names))}.")
        # Runs of earlier versions knew one ranking.
        values: dict[str, object] = {"ranking": "mass", **content}
        if isinstance(options := values.get("texts", {}), Mapping):
            values["texts"] = TextOptions.from_json(options)
        needed = [item.name for item in fields(cls) if item.default is item.default_factory is MISSING]
        if missing := [name for name in (*needed, "probe") if name not in content]:
            raise SettingsError(f"Missing settings {', '.join(f'`{name}`' for name in missing)}.")
        for name in ("train", "dev", "test", "out"):
            if isinstance(text := values.get(name), str):
                values[name] = Path(text)
        probe = content["probe"]
        if not isinstance(probe, Mapping):
            raise SettingsError("`probe` must be a table of settings.")
        values["probe"] = ElasticNet.from_json(probe)
        return cls(**values)  # pyright: ignore[reportArgumentType] - plain JSON, checked by __post_init__


def _option(name: str, value: object) -> list[str]:
    """Returns one setting as the words of a command; of a local file or folder its base name alone."""
    option = "--" + name.replace("_", "-")
    if isinstance(value, bool):
        return [option if value else option.replace("--", "--no-", 1)]
    if name in ("tasks", "annotate", "where") and isinstance(value, tuple):
        plain = [with_file(each, lambda file: Path(file).name) for each in value] if name == "annotate" else value
        return [word for each in plain for word in (option.removesuffix("s"), str(each))]
    if str(value).startswith(HUB):
        return [option, str(value)]
    if isinstance(value, Path) or (name == "model" and Path(str(value)).exists()):
        return [option, Path(str(value)).name]
    return [option, *(str(part) for part in (value if isinstance(value, tuple) else (value,)))]


@dataclass(frozen=True, kw_only=True)
class Study(Request):
    """The settings of a study: many tasks of one model on one treebank, in one solve."""

    out: Path
    """The folder of the results, which all processes reach. Activations that it has already are not computed again."""
    replicates: int = 0
    """Number of bootstrap samples of the sentences; all probes are fitted to each of them too."""
    regression: Annotated[Sequence[str], tyro.conf.UseAppendAction] = ()
    """A task whose labels are numbers to predict, instead of classes. May be repeated."""
    by_layer: bool = False
    """Fit a probe of every layer instead of one of all neurons."""
    matrix_dtype: Literal["float32", "bfloat16"] = "float32"
    """The number type of the training words on the devices during the solve."""
    split_over: int = 1
    """Number of devices that share the columns, for very wide matrices."""
    stream: bool | None = None
    """Read the training words at every iteration instead of holding them; by default the free memory decides."""
    stored: bool = True
    """Write the activations into `--out`. Otherwise the model computes them whenever they are read, which is once per
    fit where the training words are held: for studies whose stores fit no disk."""

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "regression", tuple(self.regression))
        if self.statistics and not self.stored:
            raise SettingsError(
                "`statistics` lie beside the activations, which `stored=False` does not write. Leave out one of them."
            )
        _check_replicates(self.replicates)


def _check_replicates(replicates: int) -> None:
    if replicates < 0:
        raise SettingsError(f"`replicates` must be 0 or more, got {replicates}.")


def _absolute(path: Path) -> str:
    """Returns an absolute path; the name of a data set stays as it is."""
    return str(path) if str(path).startswith(HUB) else str(real_path(path))


def read_experiment(folder: Path) -> Experiment:
    """Reads the experiment of a run folder.

    Raises:
        StoreError: The folder has no `config.json`, or it is damaged.
        SettingsError: `config.json` has a setting that this version does not know, or a value out of its range.
    """
    place = folder / "config.json"
    way_out = f"Start `lca run … --out {folder}` with all of its options again."
    try:
        content = read_object(place, error=StoreError, way_out=way_out)
    except FileNotFoundError:
        raise StoreError(
            f"{folder} is not a run folder: it has no config.json. Make one with `lca run … --out {folder}`."
        ) from None
    try:
        return replace(Experiment.from_json(content), out=folder)
    except SettingsError as error:
        raise SettingsError(f"{place}: {error} {way_out}") from None
