"""The settings of a run and of a study, each one record. Their fields are the options of `lca run` and `lca study`.

`Request` holds the settings that both have (`request`), `Experiment` adds those of a run, `Study` those of a study. The
module imports nothing that computes, so that `lca --help` and `lca show` need no JAX.
"""

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, asdict, dataclass, fields, replace
from pathlib import Path
from typing import Annotated, Literal, get_args

import tyro

from lca_jax.errors import SettingsError, StoreError
from lca_jax.experiment.request import A_FILE, PARTS, Request
from lca_jax.machine.files import real_path
from lca_jax.machine.json_text import as_json_has, read_object
from lca_jax.machine.urls import url_of
from lca_jax.probing.halves import check_pairs
from lca_jax.probing.objective import ElasticNet
from lca_jax.text.annotate import with_file
from lca_jax.text.corpus import Corpus
from lca_jax.text.datasets import HUB
from lca_jax.text.options import TextOptions

Step = Literal["extract", "probe", "rank", "ablate", "report"]
STEPS: tuple[Step, ...] = get_args(Step)
"""The steps of a run, in their order."""
RankingName = Literal["bagged", "mass"]
"""The rankings that a run can make; `rankings` has what is behind the names."""


@dataclass(frozen=True, kw_only=True)
class Experiment(Request):
    """The settings of a run: a whole Linguistic Correlation Analysis of one model on one corpus."""

    test: Annotated[Path | Corpus, A_FILE]
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
    ranking_l2: float = 1.0
    """The ranking `bagged` reads half-samples with at least this l2, 0 for that of the chosen probe. With more of it
    rankings reproduce more, and their neurons are worth about the same. It does not touch what is measured, nor the
    ranking `mass` or the penalty `neurox`, whose l2 is of another scale."""
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
        if not 0 <= self.ranking_l2 < float("inf"):
            raise SettingsError(f"`ranking_l2` must be 0 or more, got {self.ranking_l2}.")
        if not 0 <= self.drop < 1:
            raise SettingsError(f"`drop` must be in [0, 1), got {self.drop}. One hundredth of the gain is 0.01.")

    @property
    def halves_l2(self) -> float:
        """The least l2 of the probes of half-samples."""
        return self.ranking_l2 if self.ranking == "bagged" and self.probe.penalty != "neurox" else 0.0

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
        if url_of(self.model) is None and (folder := real_path(self.model)).is_dir():
            plain["model"] = str(folder)
        plain["annotate"] = [with_file(option, _absolute) for option in self.annotate]
        return as_json_has(plain, default=list)

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
        # Runs of earlier versions knew one ranking, and later one penalty.
        values: dict[str, object] = {"ranking": "mass", "ranking_l2": 0.0, **content}
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
    """The folder of the results, which all processes reach, or a URL (gs://…, s3://…). Activations that it has already
    are not computed again."""
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


def _absolute(path: str | Path) -> str:
    """Returns an absolute path; a URL and the name of a data set stay as they are."""
    return str(path) if str(path).startswith(HUB) else url_of(path) or str(real_path(path))


def read_experiment(folder: Path) -> Experiment:
    """Reads the experiment of a run folder.

    Raises:
        StoreError: The folder has no `config.json`, or it is damaged.
        SettingsError: `config.json` has a setting that this version does not know, or a value out of its range.
    """
    place = real_path(folder) / "config.json"
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
