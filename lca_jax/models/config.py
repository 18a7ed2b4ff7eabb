"""The shape of a transformer, and which of its sites and layers a caller may ask for.

A family file turns a Hugging Face config into a `StackConfig`; everything after it (modules, parameters, captures,
edits) reads only this record. It holds numbers and names, never arrays.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

from lca_jax.axes import SITES
from lca_jax.errors import ModelError
from lca_jax.models.nonlinearity import NONLINEARITIES

Precision = Literal["float32", "bfloat16"]


@dataclass(frozen=True, kw_only=True)
class StackConfig:
    """One transformer stack: sizes, non-linearity, and the precision it runs in."""

    family: str
    """The `model_type` of the Hugging Face config it was read from."""
    vocabulary: int
    """Rows of the piece embedding; piece ids run below it."""
    positions: int
    """Rows of the position embedding: no window may be longer."""
    token_types: int
    """Rows of the token type embedding; only type 0 is ever used, since a window is one sentence."""
    layers: int
    """Blocks. The residual site has one layer more: its layer 0 is the embedding output."""
    heads: int
    """Attention heads of a block; they share `residual_width` evenly."""
    residual_width: int
    """Neurons of a hidden state."""
    mlp_width: int
    """Units between the two matrices of the feed-forward part."""
    activation: str
    """The non-linearity of those units, by its name in transformers: a key of `NONLINEARITIES`."""
    norm_epsilon: float
    """Added to the variance in every layer norm."""
    initializer_range: float
    """Standard deviation of the untrained matrices, for the baseline of random weights."""
    dtype: Precision = "float32"
    """Of matrices and hidden states. `bfloat16` halves memory, for accelerators; norms and softmax stay float32."""

    def __post_init__(self) -> None:
        sizes = ("vocabulary", "positions", "token_types", "layers", "heads", "residual_width", "mlp_width")
        problems = [f"`{size}` must be at least 1" for size in sizes if getattr(self, size) < 1]
        if not problems and self.residual_width % self.heads:
            problems.append("`residual_width` must be a multiple of `heads`")
        for choice, known in (("activation", NONLINEARITIES), ("dtype", get_args(Precision))):
            if getattr(self, choice) not in known:
                problems.append(f"`{choice}` must be one of {', '.join(known)}")
        if problems:
            raise ModelError(f"{self} cannot be built: {'; '.join(problems)}.")

    def layer_count(self, site: str) -> int:
        """Number of layers at a site.

        Raises:
            ModelError: There is no such site; the message lists the known ones.
        """
        return self.layers + (_known(site) == "residual")

    def site_width(self, site: str) -> int:
        """Number of neurons in one layer of a site."""
        return self.mlp_width if _known(site) == "mlp" else self.residual_width

    def choose_layers(
        self, sites: Sequence[str], layers: Sequence[int] | Mapping[str, Sequence[int]] | None = None
    ) -> dict[str, tuple[int, ...]]:
        """Says which layers of each site are meant, in the order asked for.

        Args:
            sites: Names of sites, each once.
            layers: Layer numbers for every site alike; or a mapping from site to layer numbers, where a site that is
                left out means all of its layers; or None for all layers of all sites.

        Raises:
            ModelError: A site or a layer is unknown, stands twice, or nothing is asked for.
        """
        if not sites or len(set(sites)) != len(sites):
            raise ModelError(f"`sites` must name at least one site, each once, got {tuple(sites)}.")
        by_site = layers if isinstance(layers, Mapping) else dict.fromkeys(sites, layers)
        if idle := sorted(set(by_site) - set(sites)):
            raise ModelError(f"`layers` names {', '.join(idle)}, which is not among the sites {', '.join(sites)}.")
        return {site: self._check_layers(site, by_site.get(site)) for site in sites}

    def _check_layers(self, site: str, layers: Sequence[int] | None) -> tuple[int, ...]:
        count = self.layer_count(site)
        chosen = tuple(range(count)) if layers is None else tuple(layers)
        if not chosen or len(set(chosen)) != len(chosen) or not set(chosen) <= set(range(count)):
            raise ModelError(f"Layers of `{site}` run from 0 to {count - 1} and may be asked for once, got {chosen}.")
        return chosen


def _known(site: str) -> str:
    if site not in SITES:
        raise ModelError(f"No site {site!r}. Sites: {', '.join(SITES)}.")
    return site
