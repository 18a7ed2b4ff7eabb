"""How the command ends when it cannot go on: one line on stderr that names the place and the way out, and a code.

| what happened | exit code |
| --- | --- |
| an `LcaError`, an error of the disk or the network, too little memory | 1 |
| wrong options | 2 |
| Ctrl-C | 130 |
| SIGTERM, SIGHUP | 143, 129 |
| nobody reads the output any more (as with `head`) | 141, without a line |

`--debug` shows the traceback of an error instead.
"""

import errno
import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import FrameType

from lca_jax.errors import LcaError, escape_controls

_SIGNALS = [getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name)]
_WAYS_OUT = {
    errno.ENOSPC: "Make room there, and start the same command again: it goes on where it stopped.",
    errno.EDQUOT: "Make room there, and start the same command again: it goes on where it stopped.",
    errno.EACCES: "Have the rights put right, or give another place.",
    errno.EPERM: "Have the rights put right, or give another place.",
    errno.EROFS: "Give a place that can be written.",
    errno.ENAMETOOLONG: "Give a shorter name.",
    errno.ENOENT: "Check the spelling of the path.",
    errno.ENOTDIR: "A part of the path is a file: give another one.",
    errno.EISDIR: "It is a folder: give a file.",
}


class Stopped(KeyboardInterrupt):
    """A signal that asks the process to end; like Ctrl-C it passes every handler of errors."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


@contextmanager
def ending_well(*, debug: bool) -> Iterator[None]:
    """Turns whatever ends the command into one line and an exit code.

    Args:
        debug: Whether errors keep their tracebacks.
    """
    with stopped_by_signals():
        try:
            yield
            flush_output()
        except BrokenPipeError:
            _forget_output()
            sys.exit(128 + getattr(signal, "SIGPIPE", 13))
        except SystemExit:
            _flush_or_forget()
            raise
        except (LcaError, OSError, MemoryError) as error:
            if debug:
                raise
            tell(describe(error))
            _flush_or_forget()
            sys.exit(1)
        except Stopped as stop:
            _flush_or_forget()
            tell(f"stopped by {signal.Signals(stop.number).name}. Start the same command again: it goes on from there.")
            sys.exit(128 + stop.number)
        except KeyboardInterrupt:
            if debug:
                raise
            _flush_or_forget()
            tell("interrupted. Start the same command again: it goes on where it stopped.")
            sys.exit(130)


@contextmanager
def stopped_by_signals() -> Iterator[None]:
    """Raises `Stopped` in the block when the process is asked to end, so that locks and files are given up in order."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def stop(number: int, _: FrameType | None) -> None:
        raise Stopped(number)

    before = {number: signal.signal(number, stop) for number in _SIGNALS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def describe(error: Exception) -> str:
    """Returns the line that tells an error."""
    if isinstance(error, OSError) and not isinstance(error, LcaError):
        place = " and ".join(str(name) for name in (error.filename, error.filename2) if name is not None)
        way_out = _WAYS_OUT.get(error.errno or 0, "See that it can be reached, and start the same command again.")
        return f"{place or 'the disk or the network'}: {error.strerror or error}. {way_out}"
    if isinstance(error, MemoryError):
        return f"too little memory: {str(error) or 'none is left'}. Choose fewer words, layers or penalties."
    return str(error)


def tell(line: str) -> None:
    """Writes a line to stderr, if anybody can still read it."""
    with suppress(OSError, AttributeError, ValueError):
        sys.stderr.write(f"lca: {escape_controls(line)}\n")


def flush_output() -> None:
    """Writes what is left of the output.

    Raises:
        OSError: It cannot be written; the error names the output as its file.
    """
    if sys.stdout is not None:
        try:
            sys.stdout.flush()
        except BrokenPipeError:
            raise
        except OSError as error:
            _forget_output()
            raise OSError(error.errno, error.strerror, "standard output") from None


def _flush_or_forget() -> None:
    """Writes what is left of the output, or gives it up where that fails: the exit code is decided already."""
    try:
        flush_output()
    except OSError:
        _forget_output()


def _forget_output() -> None:
    """Lets Python's last flush go nowhere; it would end with a traceback."""
    with suppress(OSError, ValueError, AttributeError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)
