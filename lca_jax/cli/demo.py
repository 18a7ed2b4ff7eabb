"""`lca demo`: a whole run on what the package brings with it."""

import tempfile
from pathlib import Path

from lca_jax.cli.run import run_and_report
from lca_jax.demo import demo_corpus_file, demo_model_folder
from lca_jax.experiment.config import Experiment


def demo(*, model: str | None = None, out: Path | None = None, quiet: bool = False, debug: bool = False) -> None:
    """Does a whole run on the embedded corpus and a small trained model.

    Args:
        model: Folder or hub name of another model than that of the extra `demo`.
        out: Run folder; by default a new one among the temporary files.
        quiet: Show no progress.
        debug: Show tracebacks.
    """
    del debug
    experiment = Experiment(
        model=model or str(demo_model_folder()),
        train=demo_corpus_file("train"),
        dev=demo_corpus_file("dev"),
        test=demo_corpus_file("test"),
        out=out or Path(tempfile.mkdtemp(prefix="lca-demo-")),
        untrained=0,
    )
    run_and_report(experiment, until="report", quiet=quiet)
