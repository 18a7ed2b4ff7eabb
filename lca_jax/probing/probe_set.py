"""All probes of one fit: looking them up, choosing one penalty for each, predicting, keeping them on disk.

The choice follows Durrani et al. 2020, A.2 (JMLR 2023, Algorithm 2): for every pair (l1, l2)

    S = ½ (A_top − A_bottom) − ½ (A_0 − A)

A is the accuracy on the dev words with all neurons, A_top and A_bottom with the first and last fifth of the probe's own
weight-mass ranking kept and the rest masked, A_0 that of a probe without penalty. A_0 is the same for all pairs, so it
moves S and never the choice; it is taken from the papers' own schedule (`adam`), since without penalty there is no
certified optimum. All pairs and masks of a task are one matrix product over the dev words.

What is chosen for is a task, or one target of it against the rest, on all neurons or on one subset: each gets its own
pair, by its probe of the training words as they are. Its control probe and its bootstrap samples follow that choice.
For regressions R² takes the place of the accuracy.
"""

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

import jax
import numpy as np
from jaxtyping import Bool, Float, Int
from orbax.checkpoint import v1 as ocp

from lca_jax.axes import LayerBlock, NeuronAxis
from lca_jax.errors import SettingsError, StoreError
from lca_jax.probing.measuring import measured_words
from lca_jax.probing.metrics import accuracy, determination
from lca_jax.probing.objective import ElasticNet
from lca_jax.probing.probe import Probe, predict_masked, predict_masked_numbers
from lca_jax.probing.weight_mass import mass_order
from lca_jax.store.store import ActivationStore

Criterion = Literal["score", "accuracy"]
_DESCRIPTION = "probes.json"
_ARRAYS = "arrays"
_FORMAT = 2
_FIELDS = ("weights", "bias", "mean", "scale", "columns")
"""Fields of a probe that are arrays; `columns` may be None."""

_Choice = tuple[str, str | None, str | None]
"""Task, target and subset: what one penalty is chosen for."""


@dataclass(frozen=True, kw_only=True)
class SearchRow:
    """What the search measured for one penalty pair of one task, on dev words; accuracies are R² of regressions."""

    task: str
    l1: float
    l2: float
    score: float
    """S of the module's docstring."""
    accuracy: float
    top: float
    """Accuracy with the first neurons of the probe's own ranking kept, the rest masked."""
    bottom: float
    """The same with the last ones kept."""
    chosen: bool
    target: str | None = None
    subset: str | None = None


@dataclass(frozen=True, kw_only=True)
class ProbeSet:
    """All problems of one fit; iterating gives `Probe` records."""

    probes: tuple[Probe, ...]
    axis: NeuronAxis
    """Which neuron each feature is."""
    settings: ElasticNet
    """How they were fitted."""
    unpenalized: tuple[Probe, ...] = ()
    """For each task, target and subset with more than one pair to choose from: the probe without penalty, A_0."""
    search: tuple[SearchRow, ...] = ()
    """What `select` measured; empty before."""
    store: ActivationStore | None = None
    """The training words, for analyses that train again; not saved."""

    def __iter__(self) -> Iterator[Probe]:
        """The probes, in the order they were fitted."""
        return iter(self.probes)

    def __len__(self) -> int:
        """Number of problems."""
        return len(self.probes)

    @property
    def tasks(self) -> tuple[str, ...]:
        """Names of the tasks, in the order they were fitted."""
        return tuple(dict.fromkeys(probe.task for probe in self.probes))

    @property
    def targets(self) -> tuple[str | None, ...]:
        """Classes that are told from the rest, over all tasks; (None,) for probes of all classes."""
        return tuple(dict.fromkeys(probe.target for probe in self.probes))

    @property
    def subsets(self) -> tuple[str | None, ...]:
        """Names of the parts of the neurons that were fitted on; (None,) for all neurons."""
        return tuple(dict.fromkeys(probe.subset for probe in self.probes))

    @property
    def replicates(self) -> int:
        """Number of bootstrap samples, the training words as they are not counted."""
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
        """The probes of one task that differ in their penalty alone.

        Args:
            task: The task.
            control: Those of its control task instead, which tasks of sentences do not have.
            replicate: Number of a bootstrap sample; 0 for the training words as they are.
            subset: Name of a part of the neurons; None for all.
            target: The class told from the rest; None for all classes.

        Raises:
            SettingsError: There are none; the message lists what there is.
        """
        wanted = (task, control, replicate, subset, target)
        found = tuple(
            probe
            for probe in self.probes
            if (probe.task, probe.control, probe.replicate, probe.subset, probe.target) == wanted
        )
        if not found:
            raise SettingsError(
                f"No probe of task `{task}` with control={control}, replicate={replicate}, subset={subset!r}, "
                f"target={target!r} here. Tasks: {', '.join(self.tasks)}. Subsets: {_listed(self.subsets)}. "
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
        """The only probe of a task; arguments as in `of`.

        Raises:
            SettingsError: There is none, or there are several penalties: `select` chooses one.
        """
        found = self.of(task, control=control, replicate=replicate, subset=subset, target=target)
        if len(found) > 1:
            raise SettingsError(
                f"Task `{task}` has {len(found)} probes. Choose one penalty first: probes.select(dev_store)."
            )
        return next(iter(found))

    def predict(self, X: Float[np.ndarray, "word neuron"]) -> Int[np.ndarray, "problem word"]:
        """Class numbers of words by every probe, in the order of the probes; place in each probe's own `classes`.

        Probes of the same neurons and number of classes are one matrix product.

        Args:
            X: Raw activations of all neurons, e.g. `store.matrix()`.

        Raises:
            SettingsError: X has other neurons than the probes were trained on.
        """
        if X.shape[1] != self.axis.size:
            raise SettingsError(
                f"These probes read {self.axis.size} neurons, the activations have {X.shape[1]}. "
                "Extract the same sites and layers as for training."
            )
        alike: dict[tuple[str | None, int], list[int]] = {}
        for place, probe in enumerate(self.probes):
            alike.setdefault((probe.subset, len(probe.classes)), []).append(place)
        predicted = np.zeros((len(self.probes), len(X)), np.int32)
        for places in alike.values():
            together = [self.probes[place] for place in places]
            keep = np.ones((len(together), 1, len(together[0].weights)), bool)
            predicted[places] = predict_masked(together, X, keep=keep)[:, 0]
        return predicted

    def select(self, dev: ActivationStore, *, by: Criterion = "score", fraction: float = 0.2) -> "ProbeSet":
        """One penalty for each task, target and subset; its control and its bootstrap samples keep the same penalty.

        Args:
            dev: Activations of the dev words.
            by: `score` is S of the papers; `accuracy` is the accuracy with all neurons. Ties go to the larger l1, then
                l2.
            fraction: Share of the neurons kept at top and bottom for S.

        Raises:
            SettingsError: `fraction` is not in (0, 0.5], `by` is unknown, or the dev store has other neurons or no such
            task.
            DataError: No dev word is labelled, or an activation is not finite.
        """
        if not 0 < fraction <= 0.5:
            raise SettingsError(f"`fraction` must be in (0, 0.5], got {fraction}. Give a fraction, e.g. 0.2.")
        if by not in ("score", "accuracy"):
            raise SettingsError(f"`by` must be 'score' or 'accuracy', got {by!r}.")
        chosen: list[Probe] = []
        search: list[SearchRow] = []
        for task in self.tasks:
            here = [probe for probe in self.probes if probe.task == task]
            words = measured_words(dev, self.axis, task, here[0].classes)
            labels = np.array(dev.labels(task), object)[words.units]
            for key in dict.fromkeys(_choice(probe) for probe in here):
                # Rows and X are the same for all targets, whose gold is 1 at the target and 0 at the rest.
                gold = words.gold if key[1] is None else (labels == key[1]).astype(np.int32)
                rows = self._measure(key, words.X, gold, fraction)
                best = max(rows, key=lambda row: (row.score if by == "score" else row.accuracy, row.l1, row.l2))
                search += [replace(row, chosen=row is best) for row in rows]
                pair = (best.l1, best.l2)
                chosen += [probe for probe in here if _choice(probe) == key and (probe.l1, probe.l2) == pair]
        return replace(self, probes=tuple(chosen), search=tuple(search))

    def _measure(
        self,
        key: _Choice,
        X: Float[np.ndarray, "word neuron"],
        gold: Int[np.ndarray, " word"] | Float[np.ndarray, " word"],
        fraction: float,
    ) -> list[SearchRow]:
        task, target, subset = key
        probes = self.of(task, target=target, subset=subset)
        without = [probe for probe in self.unpenalized if _choice(probe) == key]
        keep = np.stack([_ends_of(probe, fraction) for probe in probes])
        accuracies = _score(probes, X, gold, keep)
        whole = np.ones((1, 1, keep.shape[2]), bool)
        reference = float(_score(without[:1], X, gold, whole)[0, 0]) if without else float(accuracies[:, 0].max())
        return [
            SearchRow(
                task=task,
                target=target,
                subset=subset,
                l1=probe.l1,
                l2=probe.l2,
                score=float(0.5 * (top - bottom) - 0.5 * (reference - whole)),
                accuracy=float(whole),
                top=float(top),
                bottom=float(bottom),
                chosen=False,
            )
            for probe, (whole, top, bottom) in zip(probes, accuracies, strict=True)
        ]

    def save(self, folder: Path | str) -> None:
        """Writes the probes: arrays through orbax, the rest as JSON. An earlier set in the folder is replaced.

        Of several processes all call it, and the first one writes.
        """
        folder = Path(folder).absolute()
        folder.mkdir(parents=True, exist_ok=True)
        every = [*self.probes, *self.unpenalized]
        arrays = {f"{number:05d}": _arrays(probe) for number, probe in enumerate(every)}
        ocp.save(str(folder / _ARRAYS), arrays, overwrite=True)
        description = {
            "format": _FORMAT,
            "axis": [list(block) for block in self.axis.blocks],
            "settings": asdict(self.settings),
            "probes": [_plain(probe) for probe in self.probes],
            "unpenalized": [_plain(probe) for probe in self.unpenalized],
            "search": [row.__dict__ for row in self.search],
        }
        if jax.process_index() == 0:
            (folder / _DESCRIPTION).write_text(json.dumps(description, indent=1), encoding="utf-8")


def load_probes(folder: Path | str, *, store: ActivationStore | None = None) -> ProbeSet:
    """Reads what `ProbeSet.save` wrote.

    Args:
        folder: The folder given to `save`.
        store: The training words, if analyses are to train again.

    Raises:
        StoreError: The folder holds no probes, or those of a newer format.
    """
    folder = Path(folder).absolute()
    try:
        description = json.loads((folder / _DESCRIPTION).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise StoreError(f"{folder} holds no probes ({_DESCRIPTION} is missing). Fit them with `lca probe`.") from None
    if description["format"] not in (1, _FORMAT):  # format 1 knew no targets, samples and subsets: their defaults
        raise StoreError(
            f"{folder / _DESCRIPTION} has format {description['format']}, this version reads 1 to {_FORMAT}. "
            "Upgrade lca-jax."
        )
    arrays: Any = ocp.load(str(folder / _ARRAYS))
    every = [*description["probes"], *description["unpenalized"]]
    probes = []
    for number, fields in enumerate(every):
        fields["classes"] = tuple(fields["classes"])
        fields |= {name: np.asarray(array) for name, array in arrays[f"{number:05d}"].items()}
        probes.append(Probe(**fields))
    count = len(description["probes"])
    return ProbeSet(
        probes=tuple(probes[:count]),
        axis=NeuronAxis(blocks=tuple(LayerBlock(*block) for block in description["axis"])),
        settings=ElasticNet.from_json(description["settings"]),
        unpenalized=tuple(probes[count:]),
        search=tuple(SearchRow(**row) for row in description["search"]),
        store=store,
    )


def _score(
    probes: Sequence[Probe],
    X: Float[np.ndarray, "word neuron"],
    gold: Int[np.ndarray, " word"] | Float[np.ndarray, " word"],
    keep: Bool[np.ndarray, "problem mask feature"],
) -> Float[np.ndarray, "problem mask"]:
    """Accuracy, or R² of regressions, of every probe with every mask."""
    if probes[0].regression:
        return determination(predict_masked_numbers(probes, X, keep=keep), gold.astype(np.float64))
    return accuracy(predict_masked(probes, X, keep=keep), gold.astype(np.int32))


def _choice(probe: Probe) -> _Choice:
    return probe.task, probe.target, probe.subset


def _listed(names: Sequence[str | None]) -> str:
    return ", ".join("none" if name is None else repr(name) for name in names)


def _arrays(probe: Probe) -> dict[str, np.ndarray]:
    return {name: getattr(probe, name) for name in _FIELDS if getattr(probe, name) is not None}


def _plain(probe: Probe) -> dict[str, object]:
    return {name: value for name, value in probe.__dict__.items() if name not in _FIELDS}


def _ends_of(probe: Probe, fraction: float) -> Bool[np.ndarray, "mask feature"]:
    """Masks that keep all features, the first ones of the probe's ranking, and the last ones."""
    order = mass_order(probe.weights).order
    count = max(1, round(fraction * len(order)))
    masks = np.zeros((3, len(order)), bool)
    masks[0] = True
    masks[1, order[:count]] = True
    masks[2, order[-count:]] = True
    return masks
