"""The model and the text that a benchmark reads, by default those of the demo, and their names in results."""

from dataclasses import dataclass
from pathlib import Path

from lca_jax.demo import demo_corpus_file, demo_model_folder


@dataclass(frozen=True, kw_only=True)
class ModelAndCorpus:
    """The two options that most programs have."""

    model: Path | None = None
    """Hugging Face folder; the demo's MiniLM by default."""
    corpus: Path | None = None
    """Annotated file, CoNLL-U if the program does not say otherwise; the embedded corpus by default."""

    @property
    def model_folder(self) -> Path:
        """Folder of the model."""
        return self.model or demo_model_folder()

    @property
    def corpus_file(self) -> Path:
        """File of the text."""
        return self.corpus or demo_corpus_file("train")

    def names(self) -> dict[str, str]:
        """Returns the base names of both, for the key `input` of a result file."""
        return {"model": self.model_folder.name, "corpus": self.corpus_file.name}
