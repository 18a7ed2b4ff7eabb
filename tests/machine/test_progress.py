"""Bars of long steps: shown where they are asked for, with what is left, and silent elsewhere."""

import pytest

from lca_jax.machine.progress import counted, show_bars


def test_a_bar_counts_where_bars_are_shown(capsys: pytest.CaptureFixture[str]) -> None:
    assert list(counted([3, 1, 2], "quiet step")) == [3, 1, 2]
    with show_bars(False):
        assert list(counted([3], "quiet step")) == [3]
    assert not capsys.readouterr().err
    with show_bars(True):
        assert list(counted([3, 1, 2], "long step")) == [3, 1, 2]
    printed = capsys.readouterr().err
    assert "long step" in printed
    assert "0/3" in printed
    assert list(counted([1], "quiet step")) == [1]
    assert "quiet step" not in capsys.readouterr().err
