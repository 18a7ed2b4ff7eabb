"""Sizes to which arrays are padded, so that calls of many sizes share a few compiled programs.

A program is compiled for each shape, for seconds, and found again in JAX's compilation cache by every later run.
"""

_STEPS = 16
"""Number of sizes between a power of two and the next, for words: on the average 2 % of them are padding."""
_FEW_STEPS = 8
"""The same up to `_FEW` words, where a fit takes seconds and compiling for one more size does too: the languages of a
survey share their programs."""
_FEW = 2**15


def coarse_size(size: int) -> int:
    """Returns the next of 1, 2, 3, 4, 6, 8, 12, 16, … that is at least a size."""
    power = 1 << max(size - 1, 0).bit_length()
    return power * 3 // 4 if power >= 4 and size <= power * 3 // 4 else power


def lower_size(size: int) -> int:
    """Returns the last of 1, 2, 3, 4, 6, 8, 12, 16, … that is at most a size of 1 or more."""
    power = 1 << (size.bit_length() - 1)
    return power * 3 // 2 if power >= 2 and size >= power * 3 // 2 else power


def fine_size(size: int, *, multiple_of: int) -> int:
    """Returns a size that is at least the given one and at most an eighth more, or the next multiple.

    Args:
        size: Size to be reached.
        multiple_of: Number that divides the result, such as that of the devices.
    """
    steps = _FEW_STEPS if size <= _FEW else _STEPS
    step = max(1, (1 << max(size - 1, 0).bit_length()) // (2 * steps))
    rounded = size + -size % step
    return rounded + -rounded % multiple_of
