"""The settings of a survey, one record with the fields of its file: models, corpora, tasks, and what is asked of them.

A cell is one model on one corpus: an ordinary run, with the settings of `run`, then those of its model and its corpus.
The module imports nothing that computes, so that `lca study FILE.toml --help` needs no JAX.
"""

import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Literal, get_args

from lca_jax.errors import SettingsError
from lca_jax.experiment.config import PARTS, Experiment
from lca_jax.machine.fields import check_fields
from lca_jax.machine.files import real_path
from lca_jax.machine.urls import name_place, read_content
from lca_jax.probing.objective import ElasticNet
from lca_jax.text.corpus import Corpus
from lca_jax.text.options import TextOptions
from lca_jax.text.task_names import refuse_like_names

Question = Literal["languages", "architectures", "redundancy"]
QUESTIONS: tuple[Question, ...] = get_args(Question)
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,60}")
_SOURCES = ("file", *PARTS)
_OWN = ("model", *PARTS, "out", "tasks", "seed")
"""Settings of a run that the survey makes itself."""
_NOT_OF_A_CORPUS = (
    *("sites", "layers", "neurons", "pool", "longest_window", "heads", "random_weights", "ranking", "replicates"),
)
"""Settings in which languages of one model must not differ, or their neurons could not be compared."""
_NOT_OF_A_MODEL = ("texts", "unlabelled_as", "heads")
"""Settings that decide what the words of a corpus are, the same for all models."""
_FEWEST = 4
"""Fewest half-samples: the spread over divisions needs two of them."""


@dataclass(frozen=True, kw_only=True)
class Survey:
    """Many models, many corpora, and the questions that are asked of them all."""

    models: Mapping[str, str | Mapping[str, Any]]
    """By name: a hub name or a folder; or a table with `model` and the settings of a run that this model needs, such as
    its `layers`."""
    corpora: Mapping[str, str | Path | Corpus | Mapping[str, Any]]
    """By name, a language or a domain: a file that is divided by the seed; or a table with `file`, or with `train`,
    `test` and perhaps `dev`, and the settings of a run that this corpus needs. In Python also a `Corpus`."""
    out: Path
    """The folder of the survey. Started again there, it repeats only what has changed or is not finished."""
    tasks: Sequence[str] = ("upos",)
    """The label columns, the same in all corpora."""
    questions: Sequence[Question] = ()
    """What is asked: `languages`, of two corpora or more in every model; `architectures`, of two models or more on
    every corpus; `redundancy`, of every run by itself. By default the first two, where they can be."""
    parts: tuple[float, float, float] = (0.7, 0.1, 0.2)
    """Shares of the sentences of train, dev and test, where a file is divided; together at most 1."""
    align: Literal["sent_id"] | None = None
    """`sent_id` for parallel CoNLL-U files: a sentence and its translations come into the same part."""
    seed: int = 0
    """The seed of the division and of all runs."""
    run: Mapping[str, Any] = field(default_factory=dict)
    """Further settings of every run, by the names of the options of `lca run`."""

    def __post_init__(self) -> None:
        for name in ("tasks", "questions", "parts"):
            if isinstance(value := getattr(self, name), list):
                object.__setattr__(self, name, tuple(value))
        check_fields(self)
        for kind in ("models", "corpora"):
            named = getattr(self, kind)
            if not named:
                raise SettingsError(f"A survey needs `{kind}`, and none is named.")
            if wrong := [name for name in named if not _NAME.fullmatch(name)]:
                raise SettingsError(
                    f"A name in `{kind}` is that of a folder: letters, digits, `_`, `.` and `-`, got {wrong[0]!r}."
                )
            refuse_like_names(list(named))
        refuse_like_names(self.tasks)
        object.__setattr__(self, "questions", self._possible())
        for model in self.models:
            for corpus in self.corpora:
                self._check_cell(model, corpus)

    @property
    def cells(self) -> list[tuple[str, str]]:
        """The names of model and corpus of every cell."""
        return [(model, corpus) for model in self.models for corpus in self.corpora]

    def folder_of(self, model: str, corpus: str) -> Path:
        """Returns the run folder of a cell."""
        return self.out / "runs" / model / corpus

    def sources(self, corpus: str) -> dict[str, Path | Corpus]:
        """Returns what a corpus is read from: `file` alone, or its parts."""
        given = self.corpora[corpus]
        if not isinstance(given, Mapping):
            given = {"file": given}
        sources = {name: given[name] for name in _SOURCES if given.get(name) is not None}
        if ("file" in sources) == bool(sources.keys() & {*PARTS}) or not ("file" in sources or "train" in sources):
            raise SettingsError(f"`corpora.{corpus}` must have either a `file`, or `train` and `test`.")
        if "file" not in sources and "test" not in sources:
            raise SettingsError(f"`corpora.{corpus}` has no `test`. Name one, or give one `file` to be divided.")
        return {name: Path(value) if isinstance(value, str) else value for name, value in sources.items()}

    def settings_of(self, model: str, corpus: str) -> dict[str, Any]:
        """Returns the further settings of a cell: those of `run`, over them those of the model and of the corpus."""
        merged = dict(self.run)
        for place, table, misplaced in (
            (f"models.{model}", self.models[model], _NOT_OF_A_MODEL),
            (f"corpora.{corpus}", self.corpora[corpus], _NOT_OF_A_CORPUS),
        ):
            if isinstance(table, Mapping):
                if wrong := [name for name in misplaced if name in table]:
                    raise SettingsError(
                        f"`{wrong[0]}` cannot be a setting of `{place}` alone: what is compared must be read alike. "
                        "Put it into `run`."
                    )
                merged |= {name: value for name, value in table.items() if name not in ("model", *_SOURCES)}
        known = {item.name for item in fields(Experiment)} - {*_OWN}
        if unknown := sorted(set(merged) - known):
            raise SettingsError(
                f"Unknown settings {', '.join(unknown)} of the run of {model} on {corpus}. Known: "
                f"{', '.join(sorted(known))}."
            )
        if isinstance(merged.get("probe"), Mapping):
            merged["probe"] = ElasticNet.from_json(merged["probe"])
        if isinstance(merged.get("texts"), Mapping):
            merged["texts"] = TextOptions.from_json(merged["texts"])
        return merged

    def experiment(self, model: str, corpus: str, parts: Mapping[str, Path | Corpus]) -> Experiment:
        """Returns the run of a cell.

        Args:
            model: Name of the model.
            corpus: Name of the corpus.
            parts: Its parts, `train`, `test` and perhaps `dev`.
        """
        return Experiment(
            model=self.place_of(model),
            tasks=self.tasks,
            seed=self.seed,
            out=self.folder_of(model, corpus),
            **parts,
            **self.settings_of(model, corpus),
        )

    def place_of(self, model: str) -> str:
        """Returns the hub name or folder of a model."""
        given = self.models[model]
        if isinstance(given, str):
            return given
        if not isinstance(given.get("model"), str):
            raise SettingsError(f"`models.{model}` needs `model`, a hub name or a folder.")
        return given["model"]

    def as_json(self) -> dict[str, Any]:
        """Returns plain values: paths are absolute, and of a corpus in memory stands its fingerprint."""

        def plain(value: Any) -> Any:
            if isinstance(value, Mapping):
                return {name: plain(part) for name, part in value.items()}
            if isinstance(value, list | tuple):
                return [plain(part) for part in value]
            if isinstance(value, Path):
                return str(real_path(value))
            return f"corpus {value.fingerprint()}" if isinstance(value, Corpus) else value

        return {
            item.name: plain(getattr(self, item.name)) for item in fields(self) if item.name not in ("corpora", "out")
        } | {"corpora": {name: plain({**self.sources(name), **self._own_settings(name)}) for name in self.corpora}}

    def _own_settings(self, corpus: str) -> dict[str, Any]:
        given = self.corpora[corpus]
        return {n: v for n, v in given.items() if n not in _SOURCES} if isinstance(given, Mapping) else {}

    def _possible(self) -> tuple[Question, ...]:
        enough: dict[Question, bool] = {
            "languages": len(self.corpora) > 1,
            "architectures": len(self.models) > 1,
            "redundancy": True,
        }
        if missing := [question for question in self.questions if not enough[question]]:
            needed = "two `corpora`" if missing[0] == "languages" else "two `models`"
            raise SettingsError(f"The question `{missing[0]}` needs {needed} or more.")
        # What costs a run's time again is asked for by name.
        asked = tuple(self.questions) or tuple(name for name in QUESTIONS if enough[name] and name != "redundancy")
        if not asked:
            raise SettingsError("One model on one corpus is a run (`lca run`): a survey needs two of one of them.")
        return asked

    def _check_cell(self, model: str, corpus: str) -> None:
        sources, settings = self.sources(corpus), self.settings_of(model, corpus)
        if self.align is not None and "file" not in sources:
            raise SettingsError(
                f"`align` divides files by their sentences, and `corpora.{corpus}` is divided already. Give its `file`."
            )
        if settings.get("replicates", _FEWEST) < _FEWEST:
            raise SettingsError(
                f"The reliability of rankings comes from half-samples: `replicates` must be {_FEWEST} or more, got "
                f"{settings['replicates']}."
            )
        # Refuses what the run would refuse, before any of them begins.
        self.experiment(model, corpus, dict.fromkeys(("train", "test"), Path(corpus)))


def read_survey(file: Path, *, out: Path | None = None) -> Survey:
    """Reads a survey from a TOML file. Paths in it are relative to the folder of the process, as everywhere.

    Args:
        file: The file, a path or a URL.
        out: The folder of the survey, in place of that of the file.

    Raises:
        SettingsError: The file cannot be read, a setting is unknown, missing or out of its range.
    """
    place = name_place(file)
    try:
        content = tomllib.loads(read_content(file).decode("utf-8"))
    except (OSError, ValueError) as error:
        raise SettingsError(
            f"{place} cannot be read as TOML: {error}. Give a file with `out`, `tasks`, [models] and [corpora]."
        ) from None
    names = [item.name for item in fields(Survey)]
    if unknown := sorted(set(content) - set(names)):
        raise SettingsError(f"{place}: unknown settings {', '.join(unknown)}. Known: {', '.join(names)}.")
    chosen = out if out is not None else content.get("out")
    if missing := [
        name for name, value in (("out", chosen), *((n, content.get(n)) for n in ("models", "corpora"))) if not value
    ]:
        raise SettingsError(f"{place}: `{missing[0]}` is missing.")
    try:
        plain: dict[str, Any] = {n: tuple(value) if isinstance(value, list) else value for n, value in content.items()}
        plain["out"] = Path(str(chosen))
        return Survey(**plain)
    except SettingsError as error:
        raise SettingsError(f"{place}: {error}") from None
