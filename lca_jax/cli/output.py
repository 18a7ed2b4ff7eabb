"""What the command writes: results to stdout, the log to stderr."""

import logging
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager


def say(*lines: str) -> None:
    """Writes lines to stdout."""
    sys.stdout.write("\n".join(lines) + "\n")


@contextmanager
def log_to_stderr(*, quiet: bool) -> Iterator[None]:
    """Shows what the package logs, and Python's warnings, on stderr while the block runs, one line each.

    Args:
        quiet: Shows warnings alone.
    """
    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter("%(message)s"))
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
