"""The settings of a fine-tuning, and the learning rate of every step."""

from dataclasses import dataclass
from typing import Literal, get_args

from lca_jax.errors import SettingsError
from lca_jax.machine.fields import check_fields
from lca_jax.models.choices import Precision, Reading

Frozen = Literal["nothing", "embedding", "stack"]


@dataclass(frozen=True, kw_only=True)
class Tuning:
    """How a model is tuned. The defaults are those of BERT's authors (Devlin et al. 2019, appendix A.3)."""

    epochs: int = 3
    """Number of times that every text is seen, 1 or more."""
    batch: int = 32
    """Texts of a step, 1 or more."""
    rate: float = 5e-5
    """Highest learning rate, above 0: after the warm-up."""
    warmup: float = 0.1
    """Share of the steps in which the rate rises, in [0, 1); it then falls linearly to 0."""
    weight_decay: float = 0.01
    """Decay of matrices and tables a step, as a factor of the rate (AdamW; Loshchilov and Hutter 2019); biases and
    norms do not decay."""
    clip: float = 1.0
    """Largest norm of the gradient over all parameters, above 0; a longer one is shortened to it."""
    dropout: float = 0.1
    """Share of the states, and of the weights of attention, that a step sets to zero, in [0, 1)."""
    pool: Reading | None = None
    """The pieces that are read: `sentence-mean` or `cls` for sentences, `first`, `last` or `mean` for words. None for
    `sentence-mean` and `first`."""
    frozen: Frozen = "nothing"
    """What keeps its parameters: the `embedding` (half of a small model's parameters), or the whole `stack`, so that
    the classifier alone is trained."""
    dtype: Precision = "float32"
    """Precision of the model while it is tuned. With `bfloat16` parameters and Adam's moments stay in float32."""
    evaluate_every: int | None = None
    """Steps between two measurements on the dev texts; None for one an epoch."""
    patience: int = 3
    """Number of measurements without a better dev accuracy after which tuning ends, 1 or more."""
    checkpoint_every: int = 200
    """Steps between two checkpoints, 1 or more; there is one at every measurement too. It changes no result."""
    seed: int = 0
    """Seed of the classifier, the order of the texts and the dropout."""

    def __post_init__(self) -> None:
        check_fields(self)
        wrong = [f"`{name}` must be 1 or more, got {value}" for name, value in self._counts().items() if value < 1]
        wrong += [
            f"`{name}` must be in [0, 1), got {getattr(self, name)}"
            for name in ("warmup", "dropout")
            if not 0 <= getattr(self, name) < 1
        ]
        wrong += [
            f"`{name}` must be above 0, got {getattr(self, name)}"
            for name in ("rate", "clip")
            if not getattr(self, name) > 0
        ]
        if self.weight_decay < 0:
            wrong.append(f"`weight_decay` must be 0 or more, got {self.weight_decay}")
        if self.seed < 0:
            wrong.append(f"`seed` must be 0 or more, got {self.seed}")
        for name, kind in (("frozen", Frozen), ("dtype", Precision)):
            if getattr(self, name) not in get_args(kind):
                wrong.append(f"`{name}` must be one of {', '.join(get_args(kind))}, got {getattr(self, name)!r}")
        if wrong:
            raise SettingsError(f"These settings of a tuning are out of their range: {'; '.join(wrong)}.")

    def _counts(self) -> dict[str, int]:
        counts = {name: getattr(self, name) for name in ("epochs", "batch", "patience", "checkpoint_every")}
        return counts | ({} if self.evaluate_every is None else {"evaluate_every": self.evaluate_every})


def rate_of_step(settings: Tuning, step: int, steps: int) -> float:
    """Returns the learning rate of a step.

    With w steps of warm-up of T, the rate of step s = 0 … T - 1 is that of the settings times

        (s + 1) / w  while s < w,        (T - s) / (T - w)  from then on

    so that no step is without effect.

    Args:
        settings: The settings.
        step: Number of the step, from 0.
        steps: Number of all steps.
    """
    warmup = int(settings.warmup * steps)
    share = (step + 1) / warmup if step < warmup else (steps - step) / (steps - warmup)
    return settings.rate * share
