"""The least that any program must do for a case, counted by hand: the floor that a compiled program is held against."""

from benchmarks.compiled.bounds import Counts, Device
from benchmarks.compiled.programs import FitSize
from lca_jax.models.stack.config import StackConfig
from lca_jax.probing.solvers.iteration import iteration_operations

_ARRAYS = 5
"""Arrays with a number for each word and class that an iteration reads or writes: three of scores and predictions
before it, two after it."""


def fit_floor(size: FitSize, device: Device, *, devices: int) -> Counts:
    """Returns the floor of an iteration on one of some devices.

    Its products are those of the algorithm, shared out evenly, at the fastest rate of float32. X is read once. The
    gradients of all devices are added up where their problem is, and the next weights are sent to all devices.
    """
    of_problem = iteration_operations(size.words, size.features, size.classes)
    bias = 2 * size.words * size.classes**2
    products = size.problems * (of_problem + bias) / devices
    X = 4 * size.words * size.features
    by_word = 4 * size.problems * size.classes * size.words
    weights = 4 * size.problems * size.classes * size.features
    sent = 2 * (devices - 1) / devices * weights
    held = (X + _ARRAYS * by_word) / devices + 4 * weights
    return _float32(products, device, (X + _ARRAYS * by_word) / devices, sent, held)


def stack_floor(config: StackConfig, device: Device, *, rows: float, slots: int, parts: int) -> Counts:
    """Returns the floor of reading a batch through a stack, on one of the devices that share it.

    The matrices are multiplied and read once, and the states of every layer are written once. Devices that share a
    stack add up the states twice a block.

    Args:
        config: The stack, without its head.
        device: Figures of the device.
        rows: Rows of the batch.
        slots: Slots of a row, all full.
        parts: Devices that share a stack.
    """
    size = 2 if config.dtype == "bfloat16" else 4
    width, heads = config.residual_width, config.heads_width
    keys = config.attention.key_heads * config.attention.head_width
    matrices = 2 * width * heads + 2 * width * keys + (3 if config.mlp.gated else 2) * width * config.mlp.width
    of_slot = 2 * matrices + 4 * slots * heads
    flop = config.layers * rows * slots * of_slot / parts
    states = size * rows * slots * width
    moved = size * config.layers * matrices / parts + (config.layers + 1) * states
    sent = config.layers * 2 * 2 * (parts - 1) / parts * states
    if config.dtype == "bfloat16":
        return Counts(flop, 0.0, 0.0, moved, sent, moved)
    return _float32(flop, device, moved, sent, moved)


def _float32(flop: float, device: Device, moved: float, sent: float, held: float) -> Counts:
    by_units = device.float32_flop_per_s >= device.best_float32
    return Counts(0.0, flop if by_units else 0.0, 0.0 if by_units else flop, moved, sent, held)
