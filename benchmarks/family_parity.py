"""How far states and logits are from PyTorch's, as Markdown rows: the figures of the README's section on models.

    python -m benchmarks.family_parity                                    the tiny random models of the tests
    python -m benchmarks.family_parity minilm=FOLDER smollm2-135m=FOLDER  trained checkpoints, on the tests' text

Largest differences over pieces, layers and the three sites, windows alone and packed. `of` is the largest number there,
`share` the largest difference as a share of the largest neuron of the same piece and layer. Trained checkpoints also
get PyTorch's own distance from itself in float64.
"""

import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from lca_jax.axes import SITES
from lca_jax.models.model import load_model
from tests.parity import PLACES, Compared, Comparison, Reference, identity_edits
from tests.test_family_parity import LENGTHS
from tests.test_trained_parity import TRAINED, compare
from tests.tiny_bert import draw_windows
from tests.tiny_models import TINY, VOCABULARY, write_model


def main(arguments: list[str]) -> None:
    if not arguments:
        _print_tiny()
    for argument in arguments:
        name, _, folder = argument.partition("=")
        _print_trained(name, Path(folder))


def _print_tiny() -> None:
    found: dict[str, list[Compared]] = {}
    for tiny in TINY.values():
        with TemporaryDirectory() as folder:
            theirs = write_model(Path(folder), tiny)
            model = load_model(folder, head=True)
        reference = Reference(theirs, model.config.blocks, PLACES[tiny.model_type])
        windows = draw_windows(LENGTHS, vocabulary=VOCABULARY)
        compared = Comparison(model, reference, windows, slots=24).run(identity_edits(model))
        found.setdefault(tiny.model_type, []).append(compared)
    print("| model type | configs | states | of | logits | of |\n| --- | --- | --- | --- | --- | --- |")
    for model_type, results in sorted(found.items()):
        states, size = (_largest(field, SITES) for field in _fields(results))
        logits, logit_size = (_largest(field, ("logits",)) for field in _fields(results))
        print(f"| {model_type} | {len(results)} | {states:.1e} | {size:.1f} | {logits:.1e} | {logit_size:.1f} |")


def _fields(results: list[Compared]) -> tuple[list[dict[str, float]], list[dict[str, float]]]:
    return [compared.difference for compared in results], [compared.size for compared in results]


def _largest(found: list[dict[str, float]], names: tuple[str, ...]) -> float:
    return max(one[name] for one in found for name in names)


def _print_trained(name: str, folder: Path) -> None:
    trained = TRAINED[name]
    model = load_model(folder, head=trained.has_head)
    comparison = compare(model, trained, folder)
    compared = comparison.run(identity_edits(model))
    reference, windows = comparison.reference, comparison.windows
    single = [reference.run(window) for window in windows]
    reference.model.double()
    own: dict[str, float] = {}
    for window, ours in zip(windows, single, strict=True):
        exact = reference.run(window)
        for site in compared.difference:
            one, two = ours.states | {"logits": ours.logits}, exact.states | {"logits": exact.logits}
            own[site] = max(own.get(site, 0.0), float(np.abs(one[site] - two[site]).max()))
    for site, difference in compared.difference.items():
        size, share = compared.size[site], compared.share[site]
        print(f"| {name} | {site} | {difference:.1e} | {size:,.1f} | {share:.1e} | {own[site]:.1e} |")


if __name__ == "__main__":
    main(sys.argv[1:])
