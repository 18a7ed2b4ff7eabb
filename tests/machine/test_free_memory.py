"""What a process may still take: made-up trees of /proc and /sys, as a machine, a container and a cluster show them."""

from pathlib import Path

import pytest

from lca_jax.machine.free_memory import available_bytes
from tests.processes import run_processes

GB = 10**9
MACHINE = 400 * GB
UNLIMITED = "9223372036854771712"


def write_tree(root: Path, files: dict[str, str]) -> Path:
    """A machine with 512 GB, of which 300 GB are shared memory and kept files, and some further files."""
    numbers = {"MemTotal": 512 * GB, "MemFree": 100 * GB, "MemAvailable": MACHINE, "Cached": 300 * GB}
    meminfo = "".join(f"{name}:  {number // 1024} kB\n" for name, number in numbers.items()) + "HugePages_Total: 0\n"
    for name, text in {"proc/meminfo": meminfo, **files}.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return root


def group(folder: str, limit: str, taken: int, *, files: int = 0, high: str = "max") -> dict[str, str]:
    """The files of a group of version 2, of which some bytes are kept copies of files."""
    stat = f"anon {taken - files}\nfile {files}\ninactive_file {files - files // 3}\nactive_file {files // 3}\n"
    told = {"max": f"{limit}\n", "high": f"{high}\n", "current": f"{taken}\n", "stat": stat}
    return {f"sys/fs/cgroup/{folder}memory.{name}": text for name, text in told.items()}


def first_group(folder: str, limit: str, taken: int, *, files: int = 0) -> dict[str, str]:
    """The same of version 1, whose own numbers leave out what is in the groups inside."""
    stat = f"cache 0\ninactive_file 0\ntotal_inactive_file {files // 2}\ntotal_active_file {files - files // 2}\n"
    told = {"memory.limit_in_bytes": limit, "memory.usage_in_bytes": str(taken), "memory.stat": stat}
    return {f"sys/fs/cgroup/memory/{folder}{name}": text for name, text in told.items()}


STEP = "0::/system.slice/slurmstepd.scope/job_7/step_0/task_0\n"
JOB = "system.slice/slurmstepd.scope/job_7/"
FIRST = "12:cpu,cpuacct:/x\n7:memory:/slurm/uid_1/job_7/step_0\n1:name=systemd:/init.scope\n0::/init.scope\n"
TREES: dict[str, tuple[dict[str, str], int]] = {
    "shared memory is not free": ({}, MACHINE),
    "a group without a limit": ({"proc/self/cgroup": "0::/user.slice\n", **group("user.slice/", "max", GB)}, MACHINE),
    "a limit on the way to the top": (
        {
            "proc/self/cgroup": STEP,
            **group(f"{JOB}step_0/task_0/", "max", GB),
            **group(f"{JOB}step_0/", str(64 * GB), 2 * GB),
            **group(JOB, str(16 * GB), 3 * GB),
            **group("system.slice/", "max", 90 * GB),
        },
        13 * GB,
    ),
    "kept files are room": (
        {"proc/self/cgroup": STEP, **group(JOB, str(16 * GB), 15 * GB, files=9 * GB)},
        10 * GB,
    ),
    "the limit above which a process is slowed down": (
        {"proc/self/cgroup": "0::/a\n", **group("a/", str(16 * GB), GB, high=str(8 * GB))},
        7 * GB,
    ),
    "a container sees itself as the top": ({"proc/self/cgroup": "0::/\n", **group("", str(4 * GB), GB)}, 3 * GB),
    "a container told by the host's names": (
        {"proc/self/cgroup": "0::/docker/5f1c\n", **group("", str(4 * GB), GB)},
        3 * GB,
    ),
    "a group outside of the container": ({"proc/self/cgroup": "0::/../b\n", **group("", str(4 * GB), GB)}, 3 * GB),
    "more was taken than is allowed": ({"proc/self/cgroup": "0::/\n", **group("", str(4 * GB), 5 * GB)}, 0),
    "a limit above what the machine has": (
        {"proc/self/cgroup": "0::/\n", **group("", str(900 * GB), GB)},
        MACHINE,
    ),
    "version 1": (
        {
            "proc/self/cgroup": FIRST,
            **first_group("slurm/uid_1/job_7/step_0/", UNLIMITED, GB),
            **first_group("slurm/uid_1/job_7/", str(16 * GB), 12 * GB, files=5 * GB),
            **first_group("", UNLIMITED, 100 * GB),
        },
        9 * GB,
    ),
    "version 1 without a limit": ({"proc/self/cgroup": FIRST, **first_group("slurm/", UNLIMITED, GB)}, MACHINE),
    "version 1 in a container": (
        {"proc/self/cgroup": "4:memory:/docker/5f1c\n", **first_group("", str(4 * GB), GB)},
        3 * GB,
    ),
    "names that are no groups": ({"proc/self/cgroup": "nothing\n0::\n\n"}, MACHINE),
}


@pytest.mark.parametrize("name", TREES)
def test_the_least_room_counts(tmp_path: Path, name: str) -> None:
    files, expected = TREES[name]
    assert available_bytes(write_tree(tmp_path, files)) == expected


def test_a_machine_that_tells_nothing_is_asked_otherwise(tmp_path: Path) -> None:
    found = available_bytes(tmp_path)
    assert found is None or found > 0
    assert available_bytes() is None or found is not None


SHARES = """
from lca_jax.machine.devices import free_bytes
from lca_jax.machine.free_memory import available_bytes

before, share, after = available_bytes(), free_bytes(), available_bytes()
print(before, share, after)
"""


def test_processes_of_a_host_share_its_memory_and_decide_alike() -> None:
    printed = run_processes(SHARES, [], count=2, devices=2)
    told = [list(map(int, text.splitlines()[-1].split())) for text in printed]
    (share,) = {share for _, share, _ in told}
    before, _, after = told[0]
    assert 0.35 * min(before, after) < share < 0.65 * max(before, after)
