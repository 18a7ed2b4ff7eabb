"""The settings of a run or a study that say which model is read, and how it is held while it runs."""

from dataclasses import dataclass

from lca_jax.errors import SettingsError
from lca_jax.models.choices import Precision


@dataclass(frozen=True, kw_only=True)
class ModelSettings:
    """The model. It is never made by itself: a run and a study have these settings among theirs."""

    model: str
    """A hub name, a local Hugging Face folder, or the URL of one (gs://…, s3://…)."""
    revision: str | None = None
    """Branch, tag or commit of the model on the hub."""
    model_dtype: Precision = "float32"
    """The number type of the model's matrices and hidden states while it runs. `bfloat16` is quicker on accelerators
    and gives other activations, and so another ranking."""
    split_model: int = 1
    """Number of devices that share one copy of the weights, for models larger than one device's memory."""
    random_weights: int | None = None
    """The seed of random weights: the same architecture untrained, as a baseline."""

    def check_model(self) -> None:
        """Checks the ranges of these settings.

        Raises:
            SettingsError: A setting is out of its range.
        """
        if not self.model:
            raise SettingsError("`model` must be a hub name or a folder, got an empty text.")
        if self.split_model < 1:
            raise SettingsError(f"`split_model` must be 1 or more devices, got {self.split_model}.")
