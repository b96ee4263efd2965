"""Bars: what is said after an error has a line of its own."""

import pytest

from srfoundry.core import progress


def test_bars_that_stand_are_closed_before_an_error_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    items = progress.track(range(5), "counting")
    next(items)
    progress.end()
    progress.end()
    assert capsys.readouterr().err.endswith("\n")
