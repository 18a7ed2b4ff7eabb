"""Saved probes: written whole or not at all, and refused if the parts are not those of one set."""

import json
import os
import shutil
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest

from lca_jax import ProbeSet, load_probes
from lca_jax.errors import StoreError
from lca_jax.machine.checksums import checksum_of
from tests.probing.random_probes import probe_set
from tests.processes import ROOT

SAVE_KILLED = """
import os, shutil, sys
from pathlib import Path
from tests.probing.random_probes import probe_set

KILLED = 9
EVENTS = {"os.rename", "os.remove", "os.rmdir", "os.mkdir", "shutil.rmtree"}
base, second = Path(sys.argv[1]), probe_set(seed=2)


def die_before_write(number, folder):
    count = 0

    def watch(event, arguments):
        nonlocal count
        if event in EVENTS or (event == "open" and arguments[2] & (os.O_WRONLY | os.O_RDWR)):
            path = str(arguments[0])
            # A relative name is one below an open folder, which `rmtree` removes.
            if path.startswith(folder) or not os.path.isabs(path):
                count += 1
                if count > number:
                    os._exit(KILLED)

    sys.addaudithook(watch)


code, number = KILLED, 0
while code == KILLED:
    folder = base / f"killed{number:03d}"
    if (base / "old").exists():
        shutil.copytree(base / "old", folder)
    # Forked before any thread is started: importing is paid for once, and each child dies a real death.
    if (child := os.fork()) == 0:
        die_before_write(number, str(folder))
        second.save(folder)
        os._exit(0)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    number += 1
assert code == 0, code
print(number)
"""


def facts(probes: ProbeSet) -> list[object]:
    """Everything that is saved, arrays as their bytes."""
    every = [*probes, *probes.unpenalized]
    plain = [
        {
            name: (value.dtype.str, value.shape, value.tobytes()) if isinstance(value, np.ndarray) else value
            for name, value in probe.__dict__.items()
        }
        for probe in every
    ]
    return [plain, len(probes), probes.axis, probes.settings, probes.search]


OLD, NEW = facts(probe_set(seed=1)), facts(probe_set(seed=2))


def write_in_earlier_format(folder: Path, number: int) -> None:
    """Makes a saved set one of format 1, 2 or 3, as earlier versions wrote them."""
    file = folder / "probes.json"
    description = json.loads(file.read_text("utf-8"))
    del description["checksum"]
    for entry in [*description["probes"], *description["unpenalized"]]:
        for name in ("kind", "class_words", *(("target", "replicate", "subset") if number == 1 else ())):
            del entry[name]
    description["format"] = number
    if number < 3:
        (folder / description.pop("arrays")).rename(folder / "arrays")
        del description["files"]
    else:
        description["checksum"] = checksum_of(json.dumps(description).encode())
    file.write_text(json.dumps(description), "utf-8")


@pytest.mark.slow
@pytest.mark.parametrize(
    "before",
    [3, pytest.param(2, marks=pytest.mark.slow), pytest.param(None, marks=pytest.mark.slow)],
    ids=["a set", "a set of format 2", "nothing"],
)
def test_a_save_that_is_killed_before_any_write_leaves_the_old_set_or_the_new_one(
    tmp_path: Path, before: int | None
) -> None:
    if before is not None:
        probe_set(seed=1).save(tmp_path / "old")
    if before == 2:
        write_in_earlier_format(tmp_path / "old", 2)
    command = [sys.executable, "-c", SAVE_KILLED, str(tmp_path)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "JAX_PLATFORMS": "cpu"}
    ended = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300, check=False)
    assert ended.returncode == 0, ended.stderr
    folders = [tmp_path / f"killed{number:03d}" for number in range(int(ended.stdout))]
    assert len(folders) > 15
    found = [facts(load_probes(folder)) if (folder / "probes.json").exists() else None for folder in folders]
    turn = found.index(NEW)
    assert found == [OLD if before else None] * turn + [NEW] * (len(found) - turn)
    assert 5 < turn < len(found) - 1 or before is None
    for folder in (folders[turn // 2], folders[turn - 1], folders[turn]):
        probe_set(seed=2).save(folder)
        assert facts(load_probes(folder)) == NEW
        names = {path.name for path in folder.iterdir()}
        assert len(names) == 2, names  # what the killed process left is gone


def test_parts_of_two_sets_are_refused(tmp_path: Path) -> None:
    one, other = tmp_path / "one", tmp_path / "other"
    probe_set(seed=1).save(one)
    probe_set(seed=2).save(other)
    shutil.rmtree(one / "arrays-1")
    with pytest.raises(StoreError, match=r"one is not a complete set .* in `arrays-1`, which are missing\. Copy the"):
        load_probes(one)
    shutil.copytree(other / "arrays-1", one / "arrays-1")
    with pytest.raises(
        StoreError,
        match=r"one is not a complete set .* in `arrays-1` .* (was altered|is missing).*, or it belongs to another fit",
    ):
        load_probes(one)
    shutil.copy(other / "probes.json", one)
    assert facts(load_probes(one)) == NEW
    (one / "probes.json").write_text("{")
    with pytest.raises(StoreError, match=r"probes\.json cannot be read"):
        load_probes(one)


def test_a_flipped_bit_is_refused(tmp_path: Path) -> None:
    probe_set(seed=2).save(tmp_path)
    random = np.random.default_rng(0)
    files = [path for path in sorted(tmp_path.rglob("*")) if path.is_file() and path.stat().st_size]
    for file in files:
        content = file.read_bytes()
        for place in random.integers(0, len(content), 24).tolist():
            changed = bytearray(content)
            changed[place] ^= 1 << random.integers(0, 8).item()
            file.write_bytes(bytes(changed))
            if file.name == "probes.json":
                with suppress(StoreError):  # 1e-05 and 1E-05 are one number: a bit apart, and nothing has changed
                    assert facts(load_probes(tmp_path)) == NEW
            else:
                with pytest.raises(StoreError, match=r"in `arrays-1` .* was altered, or it belongs to another fit"):
                    load_probes(tmp_path)
        file.write_bytes(content)
    assert facts(load_probes(tmp_path)) == NEW


@pytest.mark.parametrize("number", [1, 2, 3])
def test_probes_of_earlier_formats_are_read(tmp_path: Path, number: int) -> None:
    probe_set(seed=2).save(tmp_path)
    write_in_earlier_format(tmp_path, number)
    found = load_probes(tmp_path)
    if number >= 2:
        assert facts(found) == NEW
    else:
        np.testing.assert_array_equal(found.probes[1].weights, probe_set(seed=2).probes[1].weights)
        assert [probe.subset for probe in found] == [None, None]
    arrays = "arrays" if number < 3 else "arrays-1"
    shutil.rmtree(tmp_path / arrays)
    with pytest.raises(StoreError, match=f"in `{arrays}`, which are missing"):
        load_probes(tmp_path)


def test_probes_of_a_later_format_are_refused(tmp_path: Path) -> None:
    probe_set(seed=1).save(tmp_path)
    file = tmp_path / "probes.json"
    file.write_text(json.dumps({**json.loads(file.read_text("utf-8")), "format": 6}), "utf-8")
    with pytest.raises(StoreError, match=r"has format 6, this version reads 1 to 5\. Upgrade"):
        load_probes(tmp_path)
