"""All probes of one fit: looking them up, choosing one penalty for each task, predicting, saving and loading.

How a penalty is chosen is written in `selection`, how probes lie on disk in `probe_files`.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float, Int

from lca_jax.axes import NeuronAxis
from lca_jax.errors import SettingsError
from lca_jax.probing.arrays import Arrays, array_axis
from lca_jax.probing.measuring import MeasuredWords
from lca_jax.probing.objective import ElasticNet
from lca_jax.probing.probe import Probe, predict_masked, scaling_of
from lca_jax.probing.probe_files import SavedProbes, read_probes, write_probes
from lca_jax.probing.selection import Criterion, PenaltyScore, choose_penalties
from lca_jax.store.store import ActivationStore
from lca_jax.tables import Columns, html_table, text_table

if TYPE_CHECKING:  # it builds on this module
    from lca_jax.probing.comparison import Comparison


@dataclass(frozen=True, kw_only=True, repr=False)
class ProbeSet:
    """All problems of one fit; iterating gives `Probe` records."""

    probes: tuple[Probe, ...]
    """The problems, in the order in which they were fitted."""
    axis: NeuronAxis
    """The neuron of each feature."""
    settings: ElasticNet
    """Settings of the fit."""
    unpenalized: tuple[Probe, ...] = ()
    """The probe without penalty of each task, target and subset that has more than one pair to choose from."""
    search: tuple[PenaltyScore, ...] = ()
    """The score of every penalty pair, from `select`; empty before."""
    store: ActivationStore | None = None
    """The training words, for analyses that train again; not saved."""

    def __iter__(self) -> Iterator[Probe]:
        """Yields the probes, in the order in which they were fitted."""
        return iter(self.probes)

    def __len__(self) -> int:
        """Returns the number of problems."""
        return len(self.probes)

    def __repr__(self) -> str:
        """Describes the set in one line, and its first problems in a table."""
        return text_table(self._shown(), caption=self._caption())

    def _repr_html_(self) -> str:
        return html_table(self._shown(), caption=self._caption())

    def table(self) -> dict[str, list[object]]:
        """Returns one row a problem, as columns of equal length, ready for `pandas.DataFrame(...)`."""
        names = ("task", "control", "target", "subset", "replicate", "l1", "l2", "words")
        names += ("objective", "duality_gap", "iterations", "converged")
        return {name: [getattr(probe, name) for probe in self.probes] for name in names}

    @property
    def tasks(self) -> tuple[str, ...]:
        """Names of the tasks, in the order in which they were fitted."""
        return tuple(dict.fromkeys(probe.task for probe in self.probes))

    @property
    def targets(self) -> tuple[str | None, ...]:
        """Classes that a probe tells from the rest, over all tasks; (None,) for probes of all classes."""
        return tuple(dict.fromkeys(probe.target for probe in self.probes))

    @property
    def subsets(self) -> tuple[str | None, ...]:
        """Names of the parts of the neurons that probes were fitted on; (None,) for all neurons."""
        return tuple(dict.fromkeys(probe.subset for probe in self.probes))

    @property
    def replicates(self) -> int:
        """Number of samples of the sentences; the training words as they are do not count as one."""
        return max((probe.replicate for probe in self.probes), default=0)

    def of(
        self,
        task: str,
        *,
        control: bool = False,
        replicate: int = 0,
        subset: str | None = None,
        target: str | None = None,
    ) -> tuple[Probe, ...]:
        """Returns the probes of one task that differ in their penalty alone.

        Args:
            task: The task.
            control: Whether to return those of its control task instead, which tasks of sentences do not have.
            replicate: Number of a sample; 0 for the training words as they are.
            subset: Name of a part of the neurons; None for all.
            target: The class that is told from the rest; None for all classes.

        Raises:
            SettingsError: There are no such probes; the message lists what the set has.
        """
        key = (task, control, replicate, subset, target)
        found = tuple(
            probe
            for probe in self.probes
            if (probe.task, probe.control, probe.replicate, probe.subset, probe.target) == key
        )
        if not found:
            raise SettingsError(
                f"There is no probe of task `{task}` with control={control}, replicate={replicate}, subset={subset!r}, "
                f"target={target!r}. Tasks: {', '.join(self.tasks)}. Subsets: {_listed(self.subsets)}. "
                f"Targets: {_listed(self.targets)}. Replicates: 0 to {self.replicates}."
                f"{'' if any(probe.control for probe in self.probes) else ' There are no control tasks.'}"
            )
        return found

    def one(
        self,
        task: str,
        *,
        control: bool = False,
        replicate: int = 0,
        subset: str | None = None,
        target: str | None = None,
    ) -> Probe:
        """Returns the only probe of a task; the arguments are those of `of`.

        Raises:
            SettingsError: There is no such probe, or there are several penalties: `select` chooses one.
        """
        found = self.of(task, control=control, replicate=replicate, subset=subset, target=target)
        if len(found) > 1:
            raise SettingsError(
                f"Task `{task}` has {len(found)} probes. Choose one penalty first: probes.select(dev_store)."
            )
        return next(iter(found))

    def predict(self, X: Float[np.ndarray, "word neuron"]) -> Int[np.ndarray, "problem word"]:
        """Predicts the class numbers of words by every probe: places in each probe's own `classes`.

        Probes of the same neurons, mean and scale, and number of classes are one matrix product: those of all tasks
        that label the same words.

        Args:
            X: Raw activations of all neurons, e.g. `store.matrix()`.

        Raises:
            SettingsError: X has other neurons than the probes were trained on, or a probe predicts numbers.
        """
        if X.shape[1] != self.axis.size:
            raise SettingsError(
                f"These probes read {self.axis.size} neurons, the activations have {X.shape[1]}. "
                "Extract the same sites and layers as for training."
            )
        alike: dict[tuple[object, ...], list[int]] = {}
        for place, probe in enumerate(self.probes):
            alike.setdefault((probe.subset, len(probe.classes), *scaling_of(probe)), []).append(place)
        predicted = np.zeros((len(self.probes), len(X)), np.int32)
        for places in alike.values():
            group = [self.probes[place] for place in places]
            keep = np.ones((len(group), 1, len(group[0].weights)), bool)
            predicted[places] = predict_masked(group, X, keep=keep)[:, 0]
        return predicted

    def select(self, dev: ActivationStore, *, by: Criterion = "score", fraction: float = 0.2) -> "ProbeSet":
        """Chooses one penalty for each task, target and subset; its control and samples get the same one.

        Args:
            dev: Activations of the dev words.
            by: `score` for S of the papers, `accuracy` for the accuracy with all neurons, `one_se` for the strongest
                penalty within one standard error of the best accuracy (`selection` has the rules, and that of ties).
            fraction: Share of the neurons kept at top and bottom for S.

        Raises:
            SettingsError: `fraction` is not in (0, 0.5], `by` is unknown, or the dev store has other neurons or no such
                task.
            DataError: No dev word is labelled, or an activation is not finite.
        """
        probes, search = choose_penalties(self.probes, self.unpenalized, dev, axis=self.axis, by=by, fraction=fraction)
        return replace(self, probes=probes, search=search)

    def evaluate(
        self, test: ActivationStore | MeasuredWords | Arrays, task: str | None = None, *, seed: int = 0
    ) -> "Comparison":
        """Measures the probe of a task: accuracy with its interval, both baselines, control, macro F1, by class.

        Args:
            test: The words to measure on.
            task: The task; None for the only one.
            seed: Seed of the interval's resampling.

        Raises:
            SettingsError: There is no such task, or it has several penalties: `select` chooses one.
            DataError: No word has a label of the task.
        """
        from lca_jax.probing.comparison import evaluate

        return evaluate(self, test, task, seed=seed)

    def save(self, folder: Path | str) -> None:
        """Writes the probes in place of a set that the folder has, whole or not at all.

        All processes of a job call it; the first one writes, and the others return when it is done.

        Raises:
            StoreError: Another process failed.
        """
        contents = SavedProbes(self.probes, self.axis, self.settings, self.unpenalized, self.search)
        write_probes(Path(folder), contents)

    def _caption(self) -> str:
        layers = self.axis.layer_names
        places = layers[0] if len(layers) == 1 else f"{layers[0]} to {layers[-1]}"
        return f"{len(self)} probes of {', '.join(self.tasks)} on {self.axis.size} neurons ({places})"

    def _shown(self) -> Columns:
        """Returns the table without those of three columns that say nothing about any problem."""
        return {
            name: values
            for name, values in self.table().items()
            if name not in ("target", "subset", "replicate") or any(values)
        }


def as_probe_set(probes: ProbeSet | Probe) -> ProbeSet:
    """Returns a set of probes as it is, and a single probe as a set of one, whose neurons are the columns of its X."""
    if isinstance(probes, ProbeSet):
        return probes
    settings = ElasticNet(
        l1=probes.l1,
        l2=probes.l2,
        penalty=probes.penalty,
        standardize=bool(probes.mean.any() or (np.isfinite(probes.scale) & (probes.scale != 1)).any()),
    )
    return ProbeSet(probes=(probes,), axis=array_axis(len(probes.weights)), settings=settings)


def only_task(probes: ProbeSet) -> str:
    """Returns the only task of a set.

    Raises:
        SettingsError: There are several.
    """
    first, *others = probes.tasks
    if others:
        raise SettingsError(f"Name one of the tasks: {', '.join(probes.tasks)}.")
    return first


def load_probes(folder: Path | str, *, store: ActivationStore | None = None) -> ProbeSet:
    """Reads what `ProbeSet.save` wrote.

    Args:
        folder: The folder given to `save`.
        store: The training words, for analyses that train again.

    Raises:
        StoreError: The folder holds no probes or those of a newer format, or its parts are not those of one set.
    """
    return ProbeSet(**read_probes(Path(folder))._asdict(), store=store)


def _listed(names: Sequence[str | None]) -> str:
    return ", ".join("none" if name is None else repr(name) for name in names)
