"""Finds the figures of `benchmarks.claimed` in the result files, each above 0 where its claim is true."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from scipy.special import ndtri
from scipy.stats import binomtest

from benchmarks.claimed_results import Figure, Reading, Results, over_halves
from benchmarks.relocated import interval_over_seeds
from lca_jax.analysis.localisation import CLOSED_CLASSES, OPEN_CLASSES

TASKS = ("upos", "chunk", "sem")
_OPEN = tuple(name for name in OPEN_CLASSES if name != "INTJ")
"""Interjections are left out: few words are any."""
_SURE_DEVIATIONS = float(ndtri(0.975))
"""Half the width of a 95 % interval, in standard errors."""


def lead(how: str, share: float, name: str, *, tasks: Sequence[str] = TASKS, turned: bool = False) -> Reading:
    """Reads the lead of one set of neurons over another."""

    def read(results: Results) -> list[Figure]:
        found = results.tables(lambda of: of[how][str(share)]["leads"][name], tasks)
        return [figure.turned() for figure in found] if turned else found

    return read


def lead_below(bar: float, name: str) -> Reading:
    """Reads how far the lead of a tenth of the neurons that is trained again is below a bar."""
    read = lead("retrained", 0.1, name, turned=True)
    return lambda results: [figure.above(-bar) for figure in read(results)]


def sizes_below(bar: float, tasks: Sequence[str] = TASKS) -> Reading:
    """Reads how far the minimal set's share of the neurons is below a bar."""
    return lambda results: [figure.turned().above(-bar) for figure in results.tables(_share, tasks)]


def more_for_chunks(results: Results) -> list[Figure]:
    """Reads how much larger the minimal set of chunks is than that of parts of speech, as shares of the neurons."""
    found = results.tables(_share, ("chunk", "upos"))
    return [found[0].less(found[1], "chunk and upos")] if found else []


def chunks_higher(results: Results) -> list[Figure]:
    """Reads how much higher the mean layer of chunks is than that of parts of speech."""
    found = results.tables(lambda of: of["depth"]["centre"], ("chunk", "upos"))
    return [found[0].less(found[1], "chunk and upos")] if found else []


def word_types_beaten(results: Results) -> list[Figure]:
    """Reads the lead over the word-type majority."""
    return results.tables(lambda of: of["accuracy"]["word_type_majority"][1:], TASKS)


def selective(results: Results) -> list[Figure]:
    """Reads the lead over the control task."""
    return results.tables(lambda of: of["accuracy"]["control"][1:], TASKS)


def selectivity_gained(results: Results) -> list[Figure]:
    """Reads the selectivity of the minimal set less that of all neurons."""
    return results.tables(lambda of: of["minimal"]["selectivity_gained"], TASKS)


def kept_by_a_tenth(results: Results) -> list[Figure]:
    """Reads three per cent of the accuracy of all neurons, less what a tenth that is trained again loses."""

    def read(of: dict[str, Any]) -> tuple[float, float, float]:
        value, low, high = of["retrained"]["0.1"]["leads"]["all over top"]
        bar = 0.03 * of["accuracy"]["all"][0]
        return bar - value, bar - high, bar - low

    return results.tables(read, TASKS)


def two_layers(results: Results) -> list[Figure]:
    """Reads two per cent of the accuracy of all layers, less what the two lowest lose, for parts of speech."""

    def read(of: dict[str, Any]) -> tuple[float, float, float]:
        value, low, high = of["layers"]["lead_of_all"][1]
        bar = 0.02 * of["layers"]["up_to"][-1][0]
        return bar - value, bar - high, bar - low

    return results.tables(read, ("upos",))


def lower_half(results: Results) -> list[Figure]:
    """Reads the share of salient neurons in the lower half of the layers, less what all neurons have there."""
    of = results.task("upos")
    found = results.tables(lambda of: of["depth"]["lower_half"], ("upos",))
    return [] if of is None else [figure.above(of["depth"]["lower_half_of_all"]) for figure in found]


def raw_differs(results: Results) -> list[Figure]:
    """Reads how far the mean layer of raw features is from that of scaled ones, on the same half-samples."""
    found = []
    for task in TASKS:
        if (of := results.task(task)) is None:
            return []
        scaled, raw = of["depth"], of["raw"]
        halves = np.array(raw["centre_of_halves"]) - np.array(scaled["centre_of_halves"])
        found.append(over_halves(task, raw["centre"][0] - scaled["centre"][0], halves.tolist()).size())
    return found


def open_classes_larger(results: Results) -> list[Figure]:
    """Reads the mean number of neurons of an open class of words, less that of a closed one."""
    if (of := results.task("upos")) is None:
        return []
    whole, *halves = [_open_less_closed(counts) for counts in (of["classes"]["neurons"], *of["classes"]["of_halves"])]
    return [over_halves("upos", whole, halves)]


def shared_by_classes(results: Results) -> list[Figure]:
    """Reads the number of classes that a salient neuron serves in the mean, less 1."""
    found = []
    for task in TASKS:
        if (of := results.task(task)) is None:
            return []
        counted = of["classes"]
        found.append(over_halves(task, counted["sharing_factor"], counted["sharing_factor_of_halves"]).above(1.0))
    return found


def redundant(results: Results) -> list[Figure]:
    """Reads the share of neurons beyond one a cluster, less .85, with the range over the corpora for its interval."""
    counted = [of for task in TASKS if (of := results.task(task)) is not None]
    if len(counted) < len(TASKS):
        return []
    shares = [1 - of["copies"]["0.7"] / of["neurons"] - 0.85 for of in counted]
    return [Figure("three corpora", float(np.mean(shares)), min(shares), max(shares))]


def penalty_costs(results: Results) -> list[Figure]:
    """Reads what accuracy a hundred times the penalties cost, with words taken for independent."""
    if (file := results.newest("grid-20000")) is None:
        return []
    accuracy = {
        (pair["l1"], pair["l2"]): pair["accuracy"] for pair in file["grid"]["problems_by_pair"] if not pair["control"]
    }
    strong = max(accuracy)
    weak = min(accuracy, key=lambda pair: abs(np.log(pair[0] / 1e-3)) + abs(np.log(pair[1] / 1e-3)))
    words, both = file["input"]["held_out_words"], (accuracy[weak], accuracy[strong])
    reach = _SURE_DEVIATIONS * float(np.sqrt(sum(share * (1 - share) for share in both) / words))
    value = both[0] - both[1]
    return [Figure("upos", value, value - reach, value + reach)]


def matched_neurons(results: Results) -> list[Figure]:
    """Reads the share of a model's neurons whose best partner is above chance, less the 5 % that chance has."""
    if (file := results.newest("likeness")) is None:
        return []
    sizes = {one["name"]: one["neurons"] for one in file["models"]}
    found = []
    for one in file["rankings"]["max_corr"]:
        neurons = sizes[one["model"]]
        share = binomtest(one["above_chance"], neurons).proportion_ci(method="wilson")
        found.append(Figure(one["model"], one["above_chance"] / neurons, share.low, share.high).above(0.05))
    return found


def harm_of_first(ranking: str) -> Reading:
    """Reads how much more a model loses without the first neurons of a ranking than without the last, set to zero."""

    def read(results: Results) -> list[Figure]:
        return [
            Figure(name, claim["excess"], claim["low"], claim["high"])
            for name, claims in _ablations(results)
            for claim in claims
            if (claim["ranking"], claim["stronger"], claim["weaker"]) == (ranking, "top", "bottom")
            and claim["fill"] == "zero"
        ]

    return read


def apart_from_variance(results: Results) -> list[Figure]:
    """Reads a tenth, less the overlap of rankings across models and by variance, with the range over the models."""
    found = []
    for file in results.every("grain_of_sand").values():
        for kind in ("lm", "nmt"):
            if kind in file:
                apart = [0.1 - model["across"]["shared_with_variance"] for model in file[kind]["models"]]
                found.append(Figure(kind, float(np.mean(apart)), min(apart), max(apart)))
    return found


def described(name: str, bar: float) -> Reading:
    """Reads how far descriptions of neurons are above a published figure."""

    def read(results: Results) -> list[Figure]:
        if (file := results.newest("descriptions")) is None:
            return []
        row = file["reviews"]["rows"]["all labels"]["carried"]
        low, high = row["consistency interval"] if name == "consistency" else row["intervals"][name]
        return [Figure("reviews", row[name], low, high).above(bar)]

    return read


def moved_down(task: str, by: str) -> Reading:
    """Reads how far the mean layer of salient neurons fell with each tuning, over seeds and words."""

    def read(results: Results) -> list[Figure]:
        if (file := results.newest("fine-tuning")) is None:
            return []
        moved = {on: of[by]["over_seeds_and_words"] for on, of in file["shifts"][task].items()}
        return [figure.turned() for figure in _with_intervals(moved)]

    return read


def first_keep_their_worth(results: Results) -> list[Figure]:
    """Reads one point, less what the first tenth of the neurons of parts of speech loses with each tuning."""
    return [figure.turned().above(-0.01) for figure in _lost(results, "first")]


def last_lose_their_worth(results: Results) -> list[Figure]:
    """Reads what the last tenth of the neurons of parts of speech loses with each tuning."""
    return _lost(results, "last")


def _lost(results: Results, part: str) -> list[Figure]:
    """Returns the accuracy of a part of the neurons before, less that after, over the seeds."""
    if (file := results.newest("fine-tuning")) is None:
        return []
    before = file["before"]["upos"]["accuracy"][part]
    lost = {
        on: interval_over_seeds([before - of["upos"]["accuracy"][part] for of in seeds.values()])
        for on, seeds in file["after"].items()
    }
    return _with_intervals(lost)


def _with_intervals(found: dict[str, dict[str, Any]]) -> list[Figure]:
    """Returns the figures of several tunings; one that has a single seed has no interval and is left out."""
    return [Figure(on, of["value"], of["low"], of["high"]) for on, of in found.items() if of["low"] is not None]


def _ablations(results: Results) -> list[tuple[str, list[dict[str, Any]]]]:
    """Returns the claims of every curve of neurons of parts of speech in the running model, by model and measure."""
    curves = []
    for file in results.every("ablation").values():
        if file["rankings"]["task"] != "upos":
            continue
        curves += [(f"{file['input']['model']}, {name}", curve["claims"]) for name, curve in file["curves"].items()]
    for file in results.every("grain_of_sand").values():
        for kind in ("lm", "nmt"):
            models = file[kind]["models"] if kind in file else []
            curves += [(f"{kind} {number}", model["ablation"]["claims"]) for number, model in enumerate(models)]
    return curves


def _share(of: dict[str, Any]) -> tuple[float, float, float]:
    """Returns the minimal set's share of the neurons; where an end is beyond the sizes that were tried, all neurons."""
    low, high = of["minimal"]["interval"]
    return of["minimal"]["share"], low / of["neurons"], 1.0 if high is None else high / of["neurons"]


def _open_less_closed(counts: dict[str, int]) -> float:
    means = [np.mean([counts[name] for name in names if name in counts]) for names in (_OPEN, CLOSED_CLASSES)]
    return float(means[0] - means[1])
