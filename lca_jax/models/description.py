"""Describes a model for people: its sites with their sizes, its head and its parameters."""

import jax
from jax.sharding import Mesh

from lca_jax.axes import DECODER
from lca_jax.models.stack.config import StackConfig
from lca_jax.models.stack.stack import Params
from lca_jax.tables import Columns


def sites_table(config: StackConfig) -> Columns:
    """Returns a table with one line for each site: layers, width, number of neurons, and attention heads."""
    counts = [config.layer_count(site) for site in config.sites]
    widths = [config.site_width(site) for site in config.sites]
    return {
        "site": list(config.sites),
        "layers": [f"0-{count - 1}" for count in counts],
        "width": widths,
        "neurons": [count * width for count, width in zip(counts, widths, strict=True)],
        "heads": [_describe_heads(config, site) for site in config.sites],
    }


def describe_head(config: StackConfig) -> str:
    """Says whether the language model's head is loaded, and which piece vectors it uses."""
    head = config.language_head
    if head is None:
        return "not loaded"
    tied = "tied to the embedding" if head.tied else "with its own vectors"
    return f"loaded, logits of {(config.decoder or config).embedding.vocabulary:,} pieces, {tied}"


def describe_sizes(config: StackConfig, params: Params, *, max_pieces: int, mesh: Mesh | None) -> list[str]:
    """Returns lines on vocabulary, windows, head, parameters and devices."""
    leaves = jax.tree.leaves(params)
    parameters = sum(leaf.size for leaf in leaves)
    mebibytes = sum(leaf.nbytes for leaf in leaves) / 2**20
    devices = "on one device" if mesh is None else f"split over {mesh.shape['model']} devices"
    return [
        f"vocabulary of {config.embedding.vocabulary:,} pieces; windows of up to {max_pieces:,} pieces",
        f"head: {describe_head(config)}",
        f"{parameters:,} parameters, {mebibytes:,.1f} MiB, {devices}",
    ]


def _describe_heads(config: StackConfig, site: str) -> str:
    stack = config.decoder if config.decoder is not None and site.startswith(DECODER) else config
    name = site.removeprefix(DECODER)
    if name == "cell":
        return "an LSTM" if stack.attention.causal else "an LSTM in both directions"
    if name not in ("attention", "cross"):
        return ""
    if name == "attention" and stack.mixing == "recurrence":
        return "a recurrence"
    attention = stack.attention
    shared = "" if attention.key_heads == attention.heads else f", {attention.key_heads} key heads"
    return f"{attention.heads} heads of {attention.head_width}{shared}"
