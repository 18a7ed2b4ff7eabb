"""Reads the rotary positions of a config: base frequency, turned part of a head, rescaling for long texts."""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from jaxtyping import Float32

from lca_jax.errors import ModelError
from lca_jax.models.stack.attention_config import Rotary


def read_rotary(parameters: Mapping[str, Any], *, head_width: int) -> Rotary:
    """Returns the rotary positions that `rope_parameters` of a Hugging Face config describe.

    Args:
        parameters: `rope_type`, `rope_theta`, and the parameters of that type.
        head_width: Units of a head.

    Raises:
        ModelError: The type is not default, linear or llama3. With `dynamic`, frequencies would depend on the length
            of a text, and a packed window would differ from the same window alone.
    """
    units = int(head_width * parameters.get("partial_rotary_factor", 1.0))
    exponents = np.arange(0, units, 2, dtype=np.float32) / np.float32(units)
    frequencies = np.float32(1) / np.float32(parameters["rope_theta"]) ** exponents
    kind = parameters["rope_type"]
    if kind == "linear":
        frequencies = frequencies / np.float32(parameters["factor"])
    elif kind == "llama3":
        frequencies = _stretch_low_frequencies(frequencies, parameters)
    elif kind != "default":
        raise ModelError(
            f"Rotary positions must be of type default, linear or llama3, got {kind!r}. Use another checkpoint."
        )
    return Rotary(frequencies=tuple(frequencies.astype(np.float32).tolist()))


def _stretch_low_frequencies(
    frequencies: Float32[np.ndarray, "pair"], parameters: Mapping[str, Any]
) -> Float32[np.ndarray, "pair"]:
    """Divides frequencies by `factor` where a wave is longer than the original texts, and by less for shorter waves.

    Source: the rescaling of Llama 3.1 (Llama team 2024, section 3.4.3), with its linear transition between the two.
    """
    factor, low, high = (parameters[key] for key in ("factor", "low_freq_factor", "high_freq_factor"))
    waves = parameters["original_max_position_embeddings"] * frequencies.astype(np.float64) / (2 * math.pi)
    share = np.clip((waves - low) / (high - low), 0, 1)
    return ((1 - share) * frequencies / factor + share * frequencies).astype(np.float32)
