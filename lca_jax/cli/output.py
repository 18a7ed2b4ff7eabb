"""What the command writes: results to stdout, the log to stderr."""

import errno
import logging
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from lca_jax.cli.failing import flush_output
from lca_jax.errors import escape_controls
from lca_jax.machine.progress import beside_bars


def say(*lines: str) -> None:
    """Writes lines to stdout, control characters escaped.

    Raises:
        OSError: It is closed or full.
    """
    if sys.stdout is None:
        raise OSError(errno.EBADF, "is closed", "standard output")
    text = escape_controls("\n".join(lines)) + "\n"
    encoding = sys.stdout.encoding or "utf-8"
    sys.stdout.write(text.encode(encoding, "backslashreplace").decode(encoding))
    flush_output()


def page_line(folder: Path) -> str:
    """Returns the line that says where the page of a run or a survey is."""
    return f"Page: {folder.absolute() / 'report' / 'index.html'}"


def shows_bars(*, quiet: bool) -> bool:
    """Tells whether bars are shown: to somebody who looks at a terminal, and has not asked for quiet."""
    return not quiet and sys.stderr is not None and sys.stderr.isatty()


@contextmanager
def log_to_stderr(*, quiet: bool) -> Iterator[None]:
    """Shows what the package logs, and Python's warnings, on stderr while the block runs, one line each.

    Args:
        quiet: Shows warnings alone.
    """
    handler = _BesideBars()
    handler.setFormatter(_Escaping("%(message)s"))
    handler.setLevel(logging.WARNING if quiet else logging.INFO)
    loggers = [logging.getLogger(name) for name in ("lca_jax", "py.warnings")]
    before = [(logger.propagate, logger.level) for logger in loggers]
    format_warning = warnings.formatwarning
    for logger in loggers:
        logger.addHandler(handler)
        logger.propagate = False
    loggers[0].setLevel(logging.INFO)
    logging.captureWarnings(True)
    warnings.formatwarning = lambda message, *_, **__: str(message)
    try:
        yield
    finally:
        warnings.formatwarning = format_warning
        logging.captureWarnings(False)
        for logger, (propagate, level) in zip(loggers, before, strict=True):
            logger.removeHandler(handler)
            logger.propagate = propagate
            logger.setLevel(level)


class _BesideBars(logging.StreamHandler):
    """Writes lines to stderr above the bars that are shown there."""

    def emit(self, record: logging.LogRecord) -> None:
        with beside_bars():
            super().emit(record)


class _Escaping(logging.Formatter):
    """Formats lines that a terminal shows and does not obey, whatever words and file names they hold."""

    def format(self, record: logging.LogRecord) -> str:
        return escape_controls(super().format(record))
