"""Online codes: against a loop of single fits, and a code computed by hand."""

import numpy as np
import pytest

from lca_jax import ElasticNet, fit_elastic_net
from lca_jax.analysis.codelength import online_codes
from lca_jax.analysis.retraining import TrainingWords
from lca_jax.errors import SettingsError
from lca_jax.probing.labelling import Labelling

WORDS, CLASSES = 240, 3


def planted_words(*, noise: float = 1.0, l1: float = 1e-3, l2: float = 0.3) -> TrainingWords:
    rng = np.random.default_rng(4)
    numbers = rng.choice(CLASSES, WORDS, p=[0.5, 0.4, 0.1]).astype(np.int32)
    X = np.eye(CLASSES)[numbers] @ rng.normal(size=(CLASSES, 8)) * 2 + noise * rng.normal(size=(WORDS, 8))
    real = Labelling(task="t", control=False, classes=("a", "b", "c"), numbers=numbers)
    control = Labelling(task="t", control=True, classes=("a", "b", "c"), numbers=rng.permutation(numbers))
    settings = ElasticNet(l1=l1, l2=l2, standardize=False, tolerance=1e-5, max_iterations=5000)
    return TrainingWords(
        X=X.astype(np.float32), real=real, control=control, settings=settings, sentences=np.arange(WORDS) // 6
    )


def test_a_code_equals_a_loop_of_single_fits() -> None:
    training = planted_words()
    ends = (0.1, 0.3, 1.0)
    real, control = online_codes(training, ends=ends, seed=5)
    assert control is not None
    turn = np.random.default_rng(5).permutation(40)
    assert training.sentences is not None
    order = np.argsort(turn[training.sentences], kind="stable")
    for code, labelling in ((real, training.real), (control, training.control)):
        assert labelling is not None
        assert code.words == (24, 72, 240)
        expected = [24 * np.log2(CLASSES)]
        for start, end in ((24, 72), (72, 240)):
            before, after = order[:start], order[start:end]
            # A word of each class keeps it among the classes; its weight is 0.
            extra = np.array([np.flatnonzero(labelling.numbers == number)[0] for number in range(CLASSES)])
            rows = np.concatenate([before, extra])
            weights = np.concatenate([np.ones(start), np.zeros(CLASSES)])
            probe = fit_elastic_net(
                training.X[rows], labelling.numbers[rows], sample_weight=weights, l1=1e-3, l2=0.3,
                standardize=False, tolerance=1e-5, max_iterations=5000,
            )  # fmt: skip
            scores = training.X[after].astype(np.float64) @ probe.raw_weights + probe.raw_bias
            powers = np.exp(scores - scores.max(axis=1, keepdims=True))
            chances = (powers / powers.sum(axis=1, keepdims=True))[np.arange(len(after)), labelling.numbers[after]]
            expected.append(-np.log2((start * chances + 0.5) / (start + CLASSES / 2)).sum())
        # Both fits are within a 1e-5th of their optimum, up to 1e-2 in a weight, as far as float32 goes. The code by
        # hand below has no such slack.
        assert code.bits == pytest.approx(expected, rel=1e-2)
        assert code.length == pytest.approx(sum(expected), rel=1e-2)
        assert code.uniform == pytest.approx(240 * np.log2(3))
        assert code.compression == pytest.approx(240 * np.log2(3) / sum(expected), rel=1e-2)
    assert real.compression > 1.5 * control.compression


def test_weights_of_zero_leave_a_code_that_can_be_computed_by_hand() -> None:
    training = planted_words(l1=1e3)
    code, _ = online_codes(training, ends=(0.25, 1.0), seed=1)
    assert training.sentences is not None
    order = np.argsort(np.random.default_rng(1).permutation(40)[training.sentences], kind="stable")
    # A penalty that no weight survives leaves the frequencies of the classes among the 60 words of the prefix.
    counts = np.bincount(training.real.numbers[order[:60]], minlength=3)
    later = np.bincount(training.real.numbers[order[60:]], minlength=3)
    by_hand = 60 * np.log2(3) - (later * np.log2((counts + 0.5) / 61.5)).sum()
    assert code.length == pytest.approx(by_hand, rel=1e-4)


def test_ends_in_one_sentence_are_one_block_and_ends_must_ascend() -> None:
    training = planted_words()
    code, _ = online_codes(training, ends=(0.001, 0.002, 0.5, 1.0))
    assert code.words == (6, 120, 240)
    assert len(code.bits) == 3
    for ends in ((0.5, 0.1, 1.0), (0.5,), (0.0, 1.0), ()):
        with pytest.raises(SettingsError, match="ascending shares"):
            online_codes(training, ends=ends)
