"""What a model loses under edits of any kind, such as directions that are taken out, with paired intervals.

Where neurons of a ranking are removed, `ablation_curve` compares them with others. Here the edits are given, and all of
them are one compiled program, whose memory is that of one edit. An edit costs one run of the model over the text.

    shared = lca.canonical_directions(lca.correlate_models([store, other]), 2, 2)
    erased = {str(count): lca.project_out(model, {("residual", 2): shared.erased(count)}) for count in (1, 5, 20)}
    lca.measure_edits(model, erased, texts)

Reference: Bau et al. 2019, section 4 (erasing directions that models share). Koehn 2004 (paired bootstrap).
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from lca_jax.errors import SettingsError
from lca_jax.interventions.chance import ends, sampled_scores, with_change
from lca_jax.interventions.choices import Where, check_where
from lca_jax.interventions.curve import measure_of
from lca_jax.interventions.edited_runs import refuse_slots_of_written, run_edits
from lca_jax.interventions.edits import stack_edits
from lca_jax.interventions.measures import SLOTS, Measure
from lca_jax.models.model import Model
from lca_jax.models.stack.config import StackConfig
from lca_jax.models.stack.taps import Edit, check_edits
from lca_jax.tables import html_table, text_table


@dataclass(frozen=True, kw_only=True)
class EditedScore:
    """The score of a model with one edit."""

    name: str
    """Name of the edit."""
    value: float
    low: float
    """Lower end of its 95 % interval over sentences."""
    high: float
    change: float
    """The score minus that of the model as it is."""
    change_low: float
    """Lower end of the paired 95 % interval of the change."""
    change_high: float


@dataclass(frozen=True, kw_only=True, repr=False)
class MeasuredEdits:
    """What a model loses under edits; from `lca_jax.measure_edits`."""

    measure: str
    """What was measured."""
    whole: float
    """The score of the model as it is."""
    whole_low: float
    whole_high: float
    sentences: int
    """Number of sentences (or pairs) behind every score."""
    scores: tuple[EditedScore, ...]

    def __getitem__(self, name: str) -> EditedScore:
        """Returns the score with the edit of a name.

        Raises:
            SettingsError: There is none.
        """
        for score in self.scores:
            if score.name == name:
                return score
        known = ", ".join(score.name for score in self.scores)
        raise SettingsError(f"There is no edit {name!r} among those that were measured: {known}.")

    def to_dict(self) -> dict[str, Any]:
        """Returns the scores as JSON has them."""
        return asdict(self)

    def table(self) -> dict[str, list[object]]:
        """Returns one row an edit, ready for `pandas.DataFrame(...)`."""
        names = ("name", "value", "low", "high", "change", "change_low", "change_high")
        return {name: [getattr(score, name) for score in self.scores] for name in names}

    def __repr__(self) -> str:
        """Describes the score of the whole model, and that with every edit."""
        return text_table(self.table(), caption=self._caption())

    def _repr_html_(self) -> str:
        return html_table(self.table(), caption=self._caption())

    def _caption(self) -> str:
        return (
            f"{self.measure} with edits ({self.sentences} sentences); the model as it is {self.whole:.4g} "
            f"({self.whole_low:.4g} to {self.whole_high:.4g})"
        )


def measure_edits(
    model: Model,
    edits: Mapping[str, Mapping[str, Edit]],
    texts: Any = None,
    *,
    measure: str | Measure = "perplexity",
    where: Where = "all",
    seed: int = 0,
    slots: int = SLOTS,
) -> MeasuredEdits:
    """Measures a model with edits, each by itself, and how sure the differences are.

    Args:
        model: The model, with its head unless a probe or a classifier is measured.
        edits: The edits by their names: site to edit, from `ablate`, `project_out`, `shift_neurons` or by hand. They
            may be of different sites.
        texts: What a measure that is named is made of, as in `ablation_curve`.
        measure: `perplexity`, `minimal-pairs`, `bleu`, `chrf`, `classifier`, or a measure such as `ProbeAccuracy`.
        where: Which slots are edited: `all`, `words`, or `after first`. Edits cannot name slots of their own.
        seed: Seed of the intervals.
        slots: Number of slots that are computed together.

    Raises:
        SettingsError: There is no edit, or a site or a name is unknown.
        DataError: The texts have nothing to measure.
        ModelError: An edit is of another shape than its site, or the model cannot do what the measure asks for.
    """
    if not edits:
        raise SettingsError("`edits` must have at least one edit with a name.")
    check_where(where)
    for one in edits.values():
        check_edits(model.config, one)
    made = measure_of(measure, model, texts, slots=slots)
    sites = sorted({site for one in edits.values() for site in one})
    refuse_slots_of_written(where, made.batches, sites)
    stacked = stack_edits([_at_all_sites(model.config, one, sites, edits) for one in ({}, *edits.values())])
    parts = made.parts(
        run_edits(model, made.batches, stacked, score=made.score, further=made.further, where=where, name=made.name)
    )
    values, sentences = sampled_scores(made, parts, seed=seed)
    whole = values[:, 0]
    return MeasuredEdits(
        measure=made.name,
        whole=float(whole[0]),
        **ends("whole_", whole, sentences),
        sentences=parts.shape[2],
        scores=tuple(
            EditedScore(name=name, **with_change(values[:, place], whole, sentences))
            for place, name in enumerate(edits, 1)
        ),
    )


def _at_all_sites(
    config: StackConfig, given: Mapping[str, Edit], sites: list[str], edits: Mapping[str, Mapping[str, Edit]]
) -> dict[str, Edit]:
    """Returns an edit of all sites of all edits, with as many directions as any has: zeros take nothing out."""
    filled = {}
    for site in sites:
        shape = (config.layer_count(site), config.site_width(site))
        edit = given.get(site, Edit(np.ones(shape, np.float32), np.zeros(shape, np.float32)))
        directions = [one[site].directions for one in edits.values() if site in one]
        widths = [np.shape(own)[2] for own in directions if own is not None]
        if widths:
            own = np.zeros((*shape, 0), np.float32) if edit.directions is None else np.asarray(edit.directions)
            edit = edit._replace(directions=np.pad(own, ((0, 0), (0, 0), (0, max(widths) - own.shape[2]))))
        filled[site] = edit
    return filled
