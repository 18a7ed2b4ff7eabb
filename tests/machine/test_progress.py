"""Bars of long steps: shown where they are asked for, with what is left, and silent elsewhere."""

import logging
import sys
import time

import pytest

from lca_jax.cli.output import log_to_stderr, shows_bars
from lca_jax.machine.progress import counted, show_bars, shown_while


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


def test_a_bar_counts_what_ends_in_any_order_with_a_note(capsys: pytest.CaptureFixture[str]) -> None:
    with show_bars(True), shown_while(5, "long work") as bar:
        bar.count(0, "nothing yet")
        time.sleep(0.2)  # a bar is drawn every tenth of a second
        bar.count(3, "largest gap 2e-05")
    printed = capsys.readouterr().err
    assert "long work" in printed
    assert "0/5" in printed
    assert "3/5" in printed
    assert "largest gap 2e-05" in printed
    with shown_while(5, "quiet work") as bar:
        bar.count(5, "largest gap 2e-05")
    assert not capsys.readouterr().err


def test_a_line_of_the_log_does_not_begin_inside_a_bar(capsys: pytest.CaptureFixture[str]) -> None:
    with log_to_stderr(quiet=False), show_bars(True), shown_while(5, "long work"):
        logging.getLogger("lca_jax").info("one line")
    printed = capsys.readouterr().err
    before, _, after = printed.partition("one line\n")
    assert before.rpartition("\r")[2] == ""
    assert "long work" in before
    assert "long work" in after, "the bar is drawn again"


@pytest.mark.parametrize("is_terminal", [True, False])
def test_bars_are_for_terminals_and_not_for_the_quiet(is_terminal: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: is_terminal)
    assert shows_bars(quiet=False) == is_terminal
    assert not shows_bars(quiet=True)
