"""The settings that a run and a study share: model, texts, tasks, the neurons that are read, and the probes.

The module imports nothing that computes, so that `lca --help` and `lca show` need no JAX.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Literal

import tyro

from lca_jax.axes import Site
from lca_jax.errors import SettingsError
from lca_jax.experiment.model_settings import ModelSettings
from lca_jax.machine.fields import check_fields
from lca_jax.probing.objective import ElasticNet
from lca_jax.store.recipe import Pool, unit_of
from lca_jax.text.annotate import split_option
from lca_jax.text.corpus import Corpus
from lca_jax.text.options import TextOptions
from lca_jax.text.task_names import refuse_like_names

PARTS = ("train", "dev", "test")
A_FILE = tyro.conf.arg(constructor=Path, metavar="FILE", help_behavior_hint="(optional)")
"""How the command line takes a file of words."""
_LIMITS = ("max_train_words", "max_dev_words", "max_test_words", "max_train_per_class", "longest_window")


@dataclass(frozen=True, kw_only=True)
class Request(ModelSettings):
    """The settings that a run and a study share: model, texts, tasks, the neurons that are read, and the probes.

    It is never made by itself: an `Experiment` or a `Study` is one.
    """

    train: Annotated[Path | Corpus, A_FILE]
    """Training words: CoNLL-U, columns (CoNLL-2000, CoNLL-2003, Parallel Meaning Bank), tab-separated texts, CSV, JSON
    lines, each also as `.gz`, a path or a URL; or a data set of Hugging Face, as hf:NAME or hf:NAME@SPLIT. In Python
    also a `Corpus`."""
    dev: Annotated[Path | Corpus | None, A_FILE] = None
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
    shard_words: int | None = None
    """Words of one shard of the stores, a multiple of 256 or less than that; by default those of a store that is there,
    else 16,384, or as few as give shards of 1 GB and every process one. More cost memory, fewer cost time. With
    `--no-stored`: words whose sentences are packed together, 2,048 by default."""
    longest_window: int | None = None
    """Pieces of the longest window, 512 by default, and never more than the model takes. Sentences with more are cut
    into windows that overlap; a decoder of 4,096 places takes 4,096."""
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
        self.check_model()
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
