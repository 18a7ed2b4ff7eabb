"""Counts what became of a property from the answers of a model, and compares neurons with random ones.

Differences are taken within a sample of the sentences, and random sets are drawn anew among those that were measured,
so that an interval also holds what the luck of the draw does. Translations are often few, and a bootstrap of few
answers that agree has no width: an interval reaches as far as answers of a kind that was not seen could move the
difference (`with_unseen`).

References:
    Tango 1998 (an interval of a difference of paired proportions has a width where no pair differs).
    Bau et al. 2019, section 6 and A.2 (target reached and feature erased are two things).
    Antverg and Belinkov 2022, section 4 (error rate; correct lemma, wrong value).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int

from lca_jax.interventions.control.property_change import Quality, Share
from lca_jax.interventions.translation import scores_of_sums, sentence_statistics
from lca_jax.probing.metrics import resampled_sums, share_interval, with_unseen

LEVEL = (0.025, 0.975)


@dataclass(frozen=True, kw_only=True, eq=False)
class Judged:
    """What became of the property in every unit with an edited word; the first point is the model as it is."""

    source: Bool[np.ndarray, "point unit"]
    """Whether the answer shows the source class."""
    target: Bool[np.ndarray, "point unit"]
    none: Bool[np.ndarray, "point unit"]
    """Whether it shows no class."""
    changed: Bool[np.ndarray, "point unit"]
    otherwise_same: Bool[np.ndarray, "point unit"] | None
    sentences: Int[np.ndarray, " unit"]
    texts: Sequence[Sequence[str]] | None
    metrics: Mapping[str, Any]
    """sacrebleu's metrics by their names."""

    @property
    def had_source(self) -> Bool[np.ndarray, " unit"]:
        """Which units showed the source class without edits: all shares but one are of these."""
        return self.source[0]

    def shares(self, points: Sequence[int]) -> dict[str, Share | None]:
        """Returns the shares of the points of one set, its draws counted together."""
        rows = np.array(points)
        source, target, none = self.source[rows], self.target[rows], self.none[rows]
        had, shown = self.had_source, ~(source | none)
        hits: dict[str, np.ndarray] = {
            "reached": target,
            "erased": none,
            "other": shown & ~target,
            "kept": source,
            "error_rate": self.changed[rows],
        }
        shares = {name: self._share(of, had) for name, of in hits.items()}
        shares |= {"clean": None, "clwv": None, "backward": self._share(source, self.target[0])}
        if self.otherwise_same is not None:
            same = self.otherwise_same[rows]
            shares |= {"clean": self._share(target & same, had), "clwv": self._share(shown & same, had)}
        return shares

    def examples(self, points: Sequence[int], count: int) -> tuple[tuple[str, str], ...]:
        """Returns the first texts of a point that reached the target: before and after."""
        if self.texts is None:
            return ()
        reached = np.flatnonzero(self.had_source & self.target[points[0]])[:count]
        before, after = self.texts[0], self.texts[points[0]]
        return tuple((before[unit], after[unit]) for unit in map(int, reached))

    def _share(self, hits: Bool[np.ndarray, "draw unit"], among: Bool[np.ndarray, " unit"]) -> Share | None:
        counted = hits[:, among]
        ends = share_interval(counted.ravel(), np.tile(self.sentences[among], len(counted)))
        return None if ends is None else Share(value=float(counted.mean()), low=ends[0], high=ends[1])


def rest_same(
    changed: Bool[np.ndarray, "point unit"], sentences: Int[np.ndarray, " unit"], had_source: Bool[np.ndarray, " unit"]
) -> Bool[np.ndarray, "point unit"]:
    """Returns for every word whether all words of its sentence that did not show the source class answer as before."""
    _, number = np.unique(sentences, return_inverse=True)
    return np.stack([np.bincount(number, weights=point & ~had_source)[number] == 0 for point in changed])


class Difference(NamedTuple):
    """A difference of shares, -1 to 1, with the ends of its paired 95 % interval over sentences and draws."""

    value: float
    low: float
    high: float


@dataclass(frozen=True, kw_only=True, eq=False)
class Excess:
    """How much larger a share of the units is at some points than at others."""

    hits: Float[np.ndarray, "point unit"]
    """Whether each unit that showed the source class counts."""
    sentences: Int[np.ndarray, " unit"]
    share: Float[np.ndarray, "sample point"]
    """The share in every sample of the sentences; sample 0 is the data itself."""
    draws: Float[np.ndarray, "sample draw"]
    """How much each random draw counts in a sample."""

    @classmethod
    def of(cls, judged: Judged, hits: Bool[np.ndarray, "point unit"], *, draws: int, seed: int) -> "Excess":
        """Draws the samples.

        Args:
            judged: What became of the property.
            hits: What is counted, such as `judged.target`.
            draws: Number of random sets.
            seed: Seed of the samples.
        """
        among = judged.had_source
        rows = np.concatenate([np.ones((1, among.sum())), hits[:, among]])
        sampled = np.concatenate([rows.sum(axis=1)[None], resampled_sums(rows, judged.sentences[among], seed=seed)])
        times = np.random.default_rng((seed, 1)).multinomial(draws, np.full(draws, 1 / draws), size=len(sampled))
        # The data itself has every draw once.
        times[0] = 1
        return cls(
            hits=rows[1:],
            sentences=judged.sentences[among],
            share=sampled[:, 1:] / sampled[:, :1],
            draws=times / draws,
        )

    def over(self, points: Sequence[tuple[int, Sequence[int]]]) -> Difference:
        """Returns the share of a point minus the mean share of its random draws, as mean over all points.

        Args:
            points: Each point with its random draws.
        """
        in_samples = [
            self.share[:, top] - (self.share[:, list(random)] * self.draws).sum(axis=1) for top, random in points
        ]
        of_units = np.mean([self.hits[top] - self.hits[list(random)].mean(axis=0) for top, random in points], axis=0)
        sampled = np.mean(in_samples, axis=0)
        ends = np.quantile(sampled[1:], LEVEL)
        low, high = with_unseen(ends[None], of_units[None], self.sentences, least=-1)[0].tolist()
        return Difference(float(sampled[0]), low, high)


def quality_of(judged: Judged, points: Sequence[int], *, seed: int) -> dict[str, Quality]:
    """Returns the scores of edited texts against those without edits, of the points of one set together.

    Args:
        judged: The texts.
        points: The points of the set.
        seed: Seed of the samples.
    """
    if judged.texts is None:
        return {}
    qualities = {}
    for name, metric in judged.metrics.items():
        of_points = [sentence_statistics(metric, judged.texts[point], judged.texts[0]) for point in points]
        sums = np.sum(of_points, axis=0)
        sampled = resampled_sums(sums, judged.sentences, seed=seed)
        low, high = np.quantile(scores_of_sums(metric, sampled), LEVEL).tolist()
        value = float(scores_of_sums(metric, sums.sum(axis=1)))
        qualities[name] = Quality(value=value, low=low, high=high)
    return qualities
