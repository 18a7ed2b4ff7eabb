"""Prints how far states and logits are from PyTorch's, as the Markdown tables of `lca_jax/models/README.md`.

    python -m benchmarks.family_parity                                    the tiny random models of the tests
    python -m benchmarks.family_parity minilm=FOLDER smollm2-135m=FOLDER  trained checkpoints, on the tests' text

The figures are the largest differences over pieces, layers and sites, for single and packed windows. `of` is the
largest number there, `share` the largest difference as a share of the largest neuron of the same piece and layer. For
trained checkpoints, the last column is PyTorch's own distance from itself in float64.
"""

import sys
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from lca_jax.axes import DECODER_SITES, SITES
from lca_jax.models.load import load_model
from tests.models.parity import Compared, Seen, identity_edits
from tests.models.tiny import compare_tiny
from tests.models.trained import TRAINED, compare
from tests.tiny_models import TINY

KINDS = ((*SITES, *DECODER_SITES), ("logits",))


def main(arguments: list[str]) -> None:
    if not arguments:
        _print_tiny()
    for argument in arguments:
        name, _, folder = argument.partition("=")
        _print_trained(name, Path(folder))


def _print_tiny() -> None:
    by_type: dict[str, list[Compared]] = {}
    for tiny in TINY.values():
        with TemporaryDirectory() as folder:
            model, comparison = compare_tiny(tiny, Path(folder))
            compared = comparison.run(identity_edits(model))
        by_type.setdefault(tiny.model_type, []).append(compared)
    print("| model type | configs | states | of | logits | of |\n| --- | --- | --- | --- | --- | --- |")
    for model_type, results in sorted(by_type.items()):
        cells = [
            f"{value:.1e} | {size:.1f}" if size else "- | -" for value, size in map(partial(_largest, results), KINDS)
        ]
        print(f"| {model_type} | {len(results)} | {' | '.join(cells)} |")


def _largest(results: list[Compared], names: tuple[str, ...]) -> tuple[float, float]:
    sizes = [(one.difference[name], one.size[name]) for one in results for name in names if name in one.size]
    return tuple(max(column) for column in zip(*sizes, strict=True)) if sizes else (0.0, 0.0)


def _print_trained(name: str, folder: Path) -> None:
    trained = TRAINED[name]
    model = load_model(folder, head=trained.has_head)
    comparison = compare(model, trained, folder)
    compared = comparison.run(identity_edits(model))
    reference, windows = comparison.reference, comparison.windows
    single = [_numbers(reference.run(window)) for window in windows]
    reference.model.double()
    exact = [_numbers(reference.run(window)) for window in windows]
    for site, difference in compared.difference.items():
        torch_error = max(
            float(np.abs(ours[site] - theirs[site]).max()) for ours, theirs in zip(single, exact, strict=True)
        )
        size, share = compared.size[site], compared.share[site]
        print(f"| {name} | {site} | {difference:.1e} | {size:,.1f} | {share:.1e} | {torch_error:.1e} |")


def _numbers(seen: Seen) -> dict[str, np.ndarray]:
    return seen.states | ({} if seen.logits is None else {"logits": seen.logits})


if __name__ == "__main__":
    main(sys.argv[1:])
