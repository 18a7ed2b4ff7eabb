"""The model and the text that a benchmark reads, by default those of the demo, and what they are called in results."""

from dataclasses import dataclass
from pathlib import Path

from lca_jax.demo import demo_corpus_file, demo_model_folder


@dataclass(frozen=True, kw_only=True)
class ModelAndCorpus:
    """Two options of most programs."""

    model: Path | None = None
    """Hugging Face folder; the demo's MiniLM by default."""
    corpus: Path | None = None
    """CoNLL-U file; the embedded corpus by default."""

    @property
    def model_folder(self) -> Path:
        """Where the model is."""
        return self.model or demo_model_folder()

    @property
    def corpus_file(self) -> Path:
        """Where the text is."""
        return self.corpus or demo_corpus_file("train")

    def names(self) -> dict[str, str]:
        """Both by their base names, for the key `input` of a result file."""
        return {"model": self.model_folder.name, "corpus": self.corpus_file.name}
