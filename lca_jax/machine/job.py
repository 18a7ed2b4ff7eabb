"""Joins the processes of a job to one runtime, and ends all of them in one line when one is lost.

JAX waits for five minutes for a process that never comes, and aborts all processes with a trace of its C++ when one
dies. Here the processes meet first, at the address of process 0: each says its number and how many it expects, so that
a missing process, a wrong count and a number given twice are told by name, within a time that can be set. The
connections stay open. The system closes that of a process that ends, however it ends, so the others know within a
second; a machine that falls silent is known within half a minute. Whoever hears of a loss writes one line and ends.

On TPU pods and under Slurm or Open MPI, where JAX finds the processes by itself, its own waiting and ending remain.
"""

import atexit
import json
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import Any, NoReturn

import jax

from lca_jax.errors import LcaError, SettingsError
from lca_jax.machine.json_text import parse_json

JOIN_TIMEOUT_S = 300.0
"""Seconds within which all processes must have come."""
_GRACE_S = 10.0
"""Seconds that a process has to end by itself when another one has ended with an error."""
_LONGEST_LINE = 10_000
_AGAIN = "Start the same command in all processes again: it goes on from what is whole."


class JobError(LcaError):
    """The processes of a job did not come together, or one was lost."""


def join_processes(
    coordinator: str | None = None,
    processes: int | None = None,
    process: int | None = None,
    *,
    timeout_s: float = JOIN_TIMEOUT_S,
) -> None:
    """Joins the processes of a job to one runtime; call it before anything else of JAX.

    On TPU pods, and under Slurm or Open MPI, JAX finds out by itself which processes belong to the job.

    Args:
        coordinator: Address `host:port` of the first process, if the job's manager does not tell it.
        processes: Number of processes.
        process: Number of this process, from 0.
        timeout_s: Seconds within which all processes must have come.

    Raises:
        SettingsError: Some of the three are given and others are not, or one is out of its range.
        JobError: Not all processes came, or they do not agree how many there are; the message says which and where.
    """
    if not 0 < timeout_s < float("inf"):
        raise SettingsError(f"The time to join must be greater than 0 seconds, got {timeout_s}.")
    given = [part for part in (coordinator, processes, process) if part is not None]
    if len(given) not in (0, 3):
        raise SettingsError("Give `coordinator`, `processes` and `process` together, or none where JAX finds them out.")
    if coordinator is not None and processes is not None and process is not None:
        _check_numbers(coordinator, processes, process)
        _meet(coordinator, processes, process, timeout_s=timeout_s)
    stop = signal.getsignal(signal.SIGTERM)
    joining = {"local_device_ids": _only_gpu(), "initialization_timeout": max(1, round(timeout_s))}
    try:
        jax.distributed.initialize(coordinator, processes, process, **joining)
    except (RuntimeError, ValueError) as error:
        raise JobError(f"The processes of the job could not be joined: {_first_line(error)} {_AGAIN}") from None
    finally:
        # The runtime takes the signal for its own notice of preemption, and goes on until it is killed.
        if stop is not None and threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, stop)
    if _links:
        atexit.register(_leave)  # after that of JAX, so that it runs before it


def _only_gpu() -> list[int] | None:
    """Returns the number of the GPU of a process that sees a single one; None leaves the choice to JAX.

    Under Slurm and Open MPI JAX takes the GPU with the number of the process on its node. Where the job's manager shows
    every process one GPU of its own, as `--gpus-per-task=1` does, that GPU is number 0 in each of them.
    """
    seen = [name for name in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",") if name.strip()]
    return [0] if len(seen) == 1 and not os.environ.get("JAX_LOCAL_DEVICE_IDS") else None


@contextmanager
def ending_together() -> Iterator[None]:
    """Ends this process in the block's error in a way that the other processes of its job understand.

    An error of JAX may be the echo of a process that was lost: then that is told instead.
    """
    try:
        yield
    except BaseException as error:
        lost = _is_of_runtime(error) and bool(_links)
        if lost:
            time.sleep(_GRACE_S)  # in which the watching threads, if a process was lost, end this one
        while _lock.locked():  # one of them is ending it, and has said why
            time.sleep(0.1)
        _failures.append(128 + getattr(error, "number", 2) if isinstance(error, KeyboardInterrupt) else 1)
        _say_goodbye(failed=True)
        if lost:
            raise JobError(f"The processes of the job lost each other: {_first_line(error)} {_AGAIN}") from None
        raise


def _is_of_runtime(error: BaseException) -> bool:
    """Tells whether an error is the runtime's own; where a connection closes it may be a plain `ValueError`."""
    return isinstance(error, jax.errors.JaxRuntimeError) or (isinstance(error, ValueError) and "Gloo" in str(error))


_links: dict[int, socket.socket] = {}
"""The open connections, by the number of the process at the other end: all of them in process 0, and one in others."""
_ended: set[int] = set()
"""Processes that said that they end."""
_failures: list[int] = []
"""Exit codes of errors in which this process ends."""
_watching: list[threading.Thread] = []
_lock = threading.Lock()


def _check_numbers(coordinator: str, processes: int, process: int) -> None:
    _, _, port = coordinator.rpartition(":")
    if ":" not in coordinator or not port.isdecimal() or not 0 < int(port) < 65536:
        raise SettingsError(f"`coordinator` must be host:port of the first process, got {coordinator!r}.")
    if not 0 <= process < processes:
        raise SettingsError(
            f"`process` must be a number from 0 to {processes - 1}, since `processes` is {processes}; got {process}."
        )


def _meet(coordinator: str, processes: int, process: int, *, timeout_s: float) -> None:
    """Brings the processes together at the coordinator, and watches them from then on."""
    host, _, port = coordinator.rpartition(":")
    until = time.monotonic() + timeout_s
    if process == 0:
        names = _receive(coordinator, int(port), processes, until=until)
    else:
        names = _come_to(coordinator, (host.strip("[]"), int(port)), processes, process, until=until)
    for number, link in _links.items():
        link.settimeout(None)
        watch = threading.Thread(target=_watch, args=(number, link, names, processes), name="job-watch", daemon=True)
        watch.start()
        _watching.append(watch)


def _receive(coordinator: str, port: int, processes: int, *, until: float) -> dict[int, str]:
    """Waits for all other processes; returns the host of each."""
    names = {0: socket.gethostname()}
    try:
        with _listen(port) as listening:
            while len(names) < processes:
                listening.settimeout(max(until - time.monotonic(), 0.01))
                link, _ = listening.accept()
                _greet(link, names, processes, until=until)
    except TimeoutError:
        missing = [number for number in range(processes) if number not in names]
        came = ", ".join(f"{number} on {host}" for number, host in names.items())
        _refuse(
            f"Process{'es' if len(missing) > 1 else ''} {', '.join(map(str, missing))} of {processes} did not come to "
            f"{coordinator} in time; there are {came}. See that they run and reach that address. {_AGAIN}"
        )
    except OSError as error:
        raise JobError(
            f"Process 0 cannot wait for the others at {coordinator}: {error.strerror or error}. Give an address of "
            "this machine and a port that is free."
        ) from None
    for link in _links.values():
        _send(link, {"go": True, "hosts": {str(number): host for number, host in names.items()}})
    return names


def _listen(port: int) -> socket.socket:
    listening = socket.socket(socket.AF_INET6 if socket.has_dualstack_ipv6() else socket.AF_INET)
    # JAX's own service takes the same port as soon as all processes have come, while these connections stay open.
    for option in ("SO_REUSEADDR", "SO_REUSEPORT"):
        if hasattr(socket, option):
            listening.setsockopt(socket.SOL_SOCKET, getattr(socket, option), 1)
    if listening.family == socket.AF_INET6:
        listening.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
    listening.bind(("", port))
    listening.listen()
    return listening


def _greet(link: socket.socket, names: dict[int, str], processes: int, *, until: float) -> None:
    """Takes a process in, or refuses the job where it does not fit; what is no process of a job is sent away."""
    link.settimeout(max(min(until - time.monotonic(), 5.0), 0.01))
    try:
        hello = _read_line(link)
        number, count, host = int(hello["process"]), int(hello["processes"]), str(hello["host"])
    except (OSError, ValueError, KeyError, TypeError):
        link.close()
        return
    if number in names or not 0 < number < processes or count != processes:
        problem = (
            f"Process {number} on {host} expects {count} processes, process 0 expects {processes}"
            if count != processes
            else f"There are two processes {number}: on {names.get(number)} and on {host}"
        )
        _links[-1] = link
        _refuse(f"{problem}. Give every process the same number of processes and a number of its own. {_AGAIN}")
    _keep_alive(link)
    names[number], _links[number] = host, link


def _refuse(message: str) -> None:
    """Ends the job before it began, in all processes that came."""
    for link in _links.values():
        _send(link, {"error": message})
        link.close()
    _links.clear()
    raise JobError(message)


def _come_to(
    coordinator: str, address: tuple[str, int], processes: int, process: int, *, until: float
) -> dict[int, str]:
    """Goes to process 0 and waits until all have come; returns the host of each process."""
    problem: OSError | str = "nobody answered"
    while time.monotonic() < until:
        try:
            link = socket.create_connection(address, timeout=max(min(until - time.monotonic(), 5.0), 0.01))
            break
        except OSError as error:
            problem = error.strerror or str(error)
            time.sleep(0.2)
    else:
        raise JobError(
            f"Process {process} of {processes} did not reach process 0 at {coordinator} in time: {problem}. See that "
            f"process 0 runs and that this machine reaches the address. {_AGAIN}"
        )
    _keep_alive(link)
    _send(link, {"process": process, "processes": processes, "host": socket.gethostname(), "pid": os.getpid()})
    # Process 0 gives up first, and says why.
    link.settimeout(max(until - time.monotonic(), 0.01) + 5)
    try:
        reply = _read_line(link)
    except (OSError, ValueError):
        raise JobError(
            f"Process 0 at {coordinator} ended, or is no process of this job, before all {processes} processes had "
            f"come. {_AGAIN}"
        ) from None
    if "error" in reply:
        raise JobError(str(reply["error"]))
    _links[0] = link
    return {int(number): str(host) for number, host in reply["hosts"].items()}


def _watch(number: int, link: socket.socket, names: Mapping[int, str], processes: int) -> None:
    """Waits for what another process says, or for its end; ends this process when one was lost."""
    lost = f"Process {number} of {processes} on {names[number]} was lost. {_AGAIN}"
    while True:
        try:
            said = _read_line(link)
        except (OSError, ValueError):
            if number in _ended:
                return
            _end(lost)  # at once: where process 0 was lost, the runtime aborts this process in a moment
        if "lost" in said:
            _end(str(said["lost"]))
        is_new = number not in _ended
        _ended.add(number)
        if said.get("failed") and is_new:
            why = f"Process {number} of {processes} on {names[number]} failed; its own message says why. {_AGAIN}"
            timer = threading.Timer(_GRACE_S, _end, [why])
            timer.daemon = True
            timer.start()


def _end(message: str) -> NoReturn:
    """Writes one line, tells the other processes why, and ends this process; its main thread may wait for ever."""
    with _lock:  # once, and never given back
        with suppress(OSError):
            os.write(2, f"lca: {message}\n".encode(errors="backslashreplace"))
        for link in list(_links.values()):
            _send(link, {"lost": message})
        if 0 not in _links:  # process 0 holds the runtime: the others would abort if it ended before them
            _await_ends(list(_links.values()))
        os._exit(1)


def _await_ends(links: Sequence[socket.socket]) -> None:
    """Waits until the processes at the other ends have ended, for a time of grace at most."""
    until = time.monotonic() + _GRACE_S
    for link in links:
        with suppress(OSError):
            link.settimeout(_GRACE_S)
            while link.recv(1, socket.MSG_PEEK) and time.monotonic() < until:
                time.sleep(0.05)  # another thread reads what they said


def _say_goodbye(*, failed: bool) -> None:
    """Tells the others that this process ends."""
    for link in _links.values():
        _send(link, {"bye": True, "failed": failed})


def _leave() -> None:
    """Ends the process at its exit; after an error without the runtime's farewell, which would wait for the others."""
    code = _failures[0] if _failures else int(hasattr(sys, "last_value"))
    _say_goodbye(failed=bool(code))
    if code:
        if 0 not in _links:  # process 0 holds the runtime: the others would abort if it left before them
            until = time.monotonic() + _GRACE_S
            for watch in _watching:
                watch.join(max(until - time.monotonic(), 0))
        for stream in (sys.stdout, sys.stderr):
            with suppress(OSError, AttributeError, ValueError):
                stream.flush()
        os._exit(code)


def _keep_alive(link: socket.socket) -> None:
    """Has the system notice within half a minute when the other machine falls silent."""
    link.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for option, seconds in (("TCP_KEEPIDLE", 10), ("TCP_KEEPINTVL", 5), ("TCP_KEEPCNT", 3)):
        if hasattr(socket, option):
            link.setsockopt(socket.IPPROTO_TCP, getattr(socket, option), seconds)


def _send(link: socket.socket, content: Mapping[str, Any]) -> None:
    with suppress(OSError):
        link.sendall(json.dumps(content).encode() + b"\n")


def _read_line(link: socket.socket) -> dict[str, Any]:
    """Reads one message.

    Raises:
        OSError, ValueError: The other end is closed, or sends something else.
    """
    line = b""
    while not line.endswith(b"\n"):
        byte = link.recv(1)
        if not byte or len(line) > _LONGEST_LINE:
            raise ValueError("no message")
        line += byte
    content = parse_json(line)
    if not isinstance(content, dict):
        raise ValueError("no message")  # noqa: TRY004 - whatever was sent, it is no message
    return content


def _first_line(error: BaseException) -> str:
    return (str(error).strip() or repr(error)).splitlines()[0].rstrip(".") + "."
