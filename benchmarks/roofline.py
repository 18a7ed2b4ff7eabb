"""A performance model: what the compiled programs compute, move and exchange, against the figures of the devices.

    pip install -e '.[compilers]'
    python -m benchmarks.roofline --target h100-1 --target h100-8 --out roofline.json

Nothing is measured, and no device is needed. Programs are compiled for each target (`compiled.targets`) and read
(`compiled.reading`); every count is one of a device. Their least time (`compiled.bounds`) stands beside that of a floor
counted by hand (`compiled.floors`): what any program must do. The gaps between the two are what can be mended. Stacks
are compiled with one and two blocks: a block more costs their difference.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any

import jax
import tyro

from benchmarks import harness
from benchmarks.compiled.bounds import DEVICES, Counts, Device, bound, counts_of, gaps
from benchmarks.compiled.floors import fit_floor, stack_floor
from benchmarks.compiled.programs import FitSize, compile_extraction, compile_iteration, config_of
from benchmarks.compiled.targets import mesh_of
from lca_jax.machine.devices import platform_of
from lca_jax.models.stack.config import Precision
from lca_jax.probing.objective import ElasticNet
from lca_jax.probing.room import problems_in_memory
from lca_jax.probing.solvers.path import next_stronger
from lca_jax.probing.solvers.proximal import lane_count

SLOTS = 128
ROWS = 128
"""Rows of a batch on one device: 16,384 slots, as extraction has them on an accelerator."""
_TASKS = 100
_GIVEN = 0.75
"""Share of a device's memory that JAX takes for its arrays, unless it is told otherwise."""
_SHOWN = (
    *("seconds", "slots_per_s", "problem_words_per_s", "limit", "peak_share", "bfloat16_share"),
    *("gap", "products_gap", "memory_gap", "exchange_gap", "fits"),
)


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Settings of the program."""

    target: Annotated[tuple[str, ...], tyro.conf.UseAppendAction] = ()
    """Names of `compiled.targets.TARGETS`; H100s by default, whose compiler takes seconds. A TPU's takes minutes."""
    out: Path | None = None
    """Result file; without it the table is only printed."""
    quick: bool = False
    """Little of everything: tries the program."""


def main(arguments: Sequence[str] | None = None) -> None:
    settings = tyro.cli(Settings, args=arguments, description="What the compiled programs ask of TPUs and GPUs.")
    jax.config.update("jax_platforms", "cpu")
    rows: dict[str, dict[str, object]] = {}
    for name in settings.target or ("h100-1", "h100-8"):
        rows |= {f"{case}, {name}": row for case, row in cases_on(name, quick=settings.quick).items()}
        shown = {key: row for key, row in rows.items() if key.endswith(name)}
        harness.print_table(name, {key: {one: row.get(one, "") for one in _SHOWN} for key, row in shown.items()})
    worst = worst_gaps(rows)
    told = (f"{one['row']} {one['gap']:.2f} ({one['most']})" for one in worst)
    print(f"the worst gaps: {'; '.join(told)}")
    if settings.out:
        paper = {name: asdict(device) for name, device in DEVICES.items()}
        found = {"measured": False, "devices": paper, "rows": rows, "worst_gaps": worst}
        harness.write_result(settings.out, "roofline", found)


def cases_on(name: str, *, quick: bool) -> dict[str, dict[str, object]]:
    """Returns the rows of all cases on one target."""
    device = DEVICES[name.split("-", maxsplit=1)[0]]
    if quick:
        fits = {"iteration, small": FitSize(words=2_048, features=256, classes=3, problems=2)}
    else:
        grid = [(2.0**l1, 2.0**l2) for l1 in range(8) for l2 in range(8)]
        fits = {
            "iteration, headline fit": _fit(name, 1_048_576, 9_984, paths=2 * _TASKS * _paths(ElasticNet().pairs)),
            "iteration, 64 pairs": _fit(name, 204_800, 2_688, paths=2 * _paths(grid)),
        }
    cases = {case: _fit_row(name, device, size) for case, size in fits.items()}
    stacks: dict[str, tuple[str, Precision, int]] = {"BERT-base": ("bert", "float32", 1)}
    if not quick:
        stacks["Llama 7B in bfloat16"] = ("llama", "bfloat16", _parts_of_llama(name, device))
    for case, (model_type, dtype, parts) in stacks.items():
        cases[f"reading, {case}"] = _stack_row(name, device, model_type, dtype, parts=parts, quick=quick)
    return cases


def worst_gaps(rows: Mapping[str, Mapping[str, Any]], count: int = 3) -> list[dict[str, Any]]:
    """Returns the rows that are farthest from their floors, the worst first, and what each loses most by."""
    compiled = {name: row for name, row in rows.items() if "gap" in row}
    worst = sorted(compiled, key=lambda name: -compiled[name]["gap"])[:count]
    parts = ("products", "memory", "exchange")
    return [
        {
            "row": name,
            "gap": compiled[name]["gap"],
            "most": max(parts, key=lambda part: compiled[name][f"{part}_gap"]),
        }
        for name in worst
    ]


def stack_counts(name: str, model_type: str, dtype: Precision, *, parts: int, quick: bool = False) -> Counts:
    """Returns the counts of a batch through a stack of the size that `transformers` has as its default."""
    mesh = mesh_of(name, parts=parts)

    def of_blocks(blocks: int) -> Counts:
        config = config_of(model_type, dtype, num_hidden_layers=blocks, **_changes(quick=quick))
        rows = ROWS * mesh.shape["data"]
        return counts_of(compile_extraction(mesh, config, rows=rows, slots=SLOTS, dtype=dtype))

    return of_blocks(1).plus_blocks(of_blocks(2), config_of(model_type, dtype).layers)


def _parts_of_llama(name: str, device: Device) -> int:
    """Devices that share 13.5 GB of parameters: so many that these take half of their memory at most."""
    wanted = 1
    while 13.5e9 / wanted > device.memory_bytes / 2 and wanted < mesh_of(name).size:
        wanted *= 2
    return wanted


def _paths(pairs: Sequence[tuple[float, float]]) -> int:
    """Problems of a grid that need no other."""
    return sum(one is None for one in next_stronger(pairs))


def _fit(name: str, words: int, features: int, *, paths: int, classes: int = 17) -> FitSize:
    """A fit with as many problems at a time as a run has on these devices."""
    mesh = mesh_of(name)
    device = DEVICES[name.split("-", maxsplit=1)[0]]
    free = device.memory_bytes * _GIVEN - 4 * words * features / mesh.size
    at_once = problems_in_memory(platform_of(mesh), mesh.size, words=words, classes=classes, free=max(free, 1.0))
    lanes = lane_count(paths, classes, mesh, at_once=at_once)
    return FitSize(words=words, features=features, classes=classes, problems=lanes)


def _fit_row(name: str, device: Device, size: FitSize) -> dict[str, object]:
    mesh = mesh_of(name)
    floor = fit_floor(size, device, devices=mesh.size)
    if floor.memory_bytes > device.memory_bytes:
        return {"fits": False, **floor._asdict(), **asdict(size)}
    counts = counts_of(compile_iteration(mesh, size), iteration=True)
    row: dict[str, Any] = bound(counts, device) | gaps(counts, floor, device) | asdict(size)
    return row | {"problem_words_per_s": size.words * size.problems / row["seconds"]}


def _stack_row(
    name: str, device: Device, model_type: str, dtype: Precision, *, parts: int, quick: bool
) -> dict[str, object]:
    counts = stack_counts(name, model_type, dtype, parts=parts, quick=quick)
    config = config_of(model_type, dtype, **_changes(quick=quick))
    floor = stack_floor(config, device, rows=ROWS, slots=SLOTS, parts=parts)
    row: dict[str, Any] = bound(counts, device) | gaps(counts, floor, device)
    slots_per_s = ROWS * SLOTS * mesh_of(name).size / parts / row["seconds"]
    return row | {"slots_per_s": slots_per_s, "million_slots_s": 1e6 / slots_per_s, "devices_a_model": parts}


def _changes(*, quick: bool) -> dict[str, int]:
    return {"hidden_size": 64, "intermediate_size": 128, "num_attention_heads": 4} if quick else {}


if __name__ == "__main__":
    main()
