"""Finds the figures of claims on probes and rankings in the results of `benchmarks.probes_and_rankings`."""

from benchmarks.claimed_results import Figure, Results

_FILE = "probes-and-rankings"
_TENS = "35"
"""Number of neurons, as the paper counts for BERT."""


def gained_by_the_worse_probe(results: Results) -> list[Figure]:
    """Reads what the ranking of the worse of two probes gains over that of the better one, by number of neurons."""
    if (file := results.newest(_FILE)) is None:
        return []
    return [_figure(f"{size} neurons", found) for size, found in file["crossings"]["by_size"].items()]


def told_by_tens(results: Results) -> list[Figure]:
    """Reads the share of what a layer tells that the first 35 neurons tell, less one half."""
    if (file := results.newest(_FILE)) is None:
        return []
    return [
        _figure(f"layer {layer}", found[_TENS]["of_all"]).above(0.5) for layer, found in file["information"].items()
    ]


def agree_most_and_least(results: Results) -> list[Figure]:
    """Reads how much more LCA and Probeless agree with others than the next best does, and the least than Gaussian."""
    if (file := results.newest(_FILE)) is None:
        return []
    leads, average = file["overlaps"]["leads"], file["overlaps"]["average"]
    others = sorted(("lasso", "ridge", "iou"), key=lambda name: average[name])
    pairs = (f"lca over {others[-1]}", f"probeless over {others[-1]}", f"{others[0]} over gaussian")
    return [_figure(pair, leads[pair]) for pair in pairs]


def _figure(of: str, found: dict[str, float]) -> Figure:
    return Figure(of, found["value"], found["low"], found["high"])
