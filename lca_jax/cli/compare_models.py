"""`lca compare-models`: the neurons that several models learn, and how alike their layers are."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro

from lca_jax.cli.compiling import keep_compiled_programs
from lca_jax.cli.idle import refuse_idle
from lca_jax.cli.output import say
from lca_jax.machine.files import real_path
from lca_jax.machine.urls import url_of


def compare_models(
    stores: Annotated[tuple[str, ...], tyro.conf.Positional, tyro.conf.arg(metavar="STORE")],
    *,
    out: Path,
    part: Literal["train", "dev", "test"] = "test",
    held_out: float = 0.2,
    drawn: int = 256,
    seed: int = 0,
    quiet: bool = False,
    debug: bool = False,
) -> None:
    """Finds the neurons that several models learn, and how alike their layers are.

    The stores are of one corpus (`lca extract`, `lca run`) and of two or more models: other architectures, seeds or
    checkpoints. One store alone has its own layers compared with each other.

    Args:
        stores: Stores of one corpus, or run folders.
        out: Folder of the results: likeness.json, and a ranking of every model's neurons by every method.
        part: Of a run folder: whose words are read.
        held_out: Share of the sentences that choose the ridge of regressions, and of those that measure them.
        drawn: Number of neurons of each model whose words are shuffled, to know chance.
        seed: Seed of everything that is drawn.
        quiet: Show no progress.
        debug: Show tracebacks.
    """
    del debug, quiet
    places = [_store_of(path, part) for path in stores]
    if places == list(stores):
        refuse_idle({"part": part}, compare_models, "only a run folder has parts, and none is given")
    if len(stores) == 1:
        why = "only where neurons of two models are compared"
        refuse_idle({"held_out": held_out, "drawn": drawn, "seed": seed}, compare_models, why)
    from lca_jax.experiment.likeness import RESULTS, measure_likeness
    from lca_jax.store.store import open_store

    keep_compiled_programs()
    out = real_path(out)
    opened = [open_store(place) for place in places]
    results = measure_likeness(opened, out, held_out=held_out, drawn=drawn, seed=seed)
    say(f"{out / RESULTS}:", *_lines(results))


def _store_of(path: str, part: str) -> str:
    """Returns a store, or that of a run folder."""
    of_run = Path(path) / "activations" / part
    return str(of_run) if url_of(path) is None and (of_run / "manifest.json").is_file() else path


def _lines(results: dict[str, Any]) -> list[str]:
    left = ", ".join(f"{model['left_out']:,} of {model['name']}" for model in results["models"])
    lines = [f"{results['words']:,} of {results['words_of_any']:,} words are in every store (without a vector: {left})"]
    for place, model in enumerate(results["models"] if len(results["models"]) > 1 else ()):
        best, regression = results["rankings"]["max_corr"][place], results["rankings"]["lin_reg"][place]
        universal = results["universal"][place]
        chance = "" if best["chance"] is None else f" ({best['chance']:.2f} by chance)"
        in_sample = max(regression["median_in_sample"].values())
        lines.append(
            f"{model['name']}: best partner's |r| {best['median']:.2f} in the median{chance}, "
            f"{universal['median_with_turned_layers']:.2f} with turned layers; {universal['universal']} of "
            f"{model['neurons']} neurons universal; held-out R2 {regression['median']:.2f} ({in_sample:.2f} in sample)"
        )
    return [*lines, *_layer_lines(results["layers"])]


def _layer_lines(pairs: Sequence[dict[str, Any]]) -> list[str]:
    lines = []
    for pair in pairs:
        values = [value for row in pair["cka"]["values"] for value in row]
        chance = max(value for row in pair["cka"]["chance"] for value in row)
        one, other = pair["models"]
        of = f"layers of {one}" if one == other else f"layers of {one} and {other}"
        lines.append(f"{of}: CKA {min(values):.2f} to {max(values):.2f} (at most {chance:.3f} by chance)")
    return lines
