"""Describes a stack for people: its sites with their sizes, and its head."""

from lca_jax.axes import DECODER
from lca_jax.models.stack.config import StackConfig
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


def _describe_heads(config: StackConfig, site: str) -> str:
    stack = config.decoder if config.decoder is not None and site.startswith(DECODER) else config
    name = site.removeprefix(DECODER)
    if name not in ("attention", "cross"):
        return ""
    if name == "attention" and stack.mixing == "recurrence":
        return "a recurrence"
    attention = stack.attention
    shared = "" if attention.key_heads == attention.heads else f", {attention.key_heads} key heads"
    return f"{attention.heads} heads of {attention.head_width}{shared}"
