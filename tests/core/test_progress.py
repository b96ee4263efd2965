"""Bars: what is said after an error has a line of its own, and a log holds a line now and then."""

import sys

import pytest

from srfoundry.core import progress


def test_bars_that_stand_are_closed_before_an_error_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    items = progress.track(range(5), "counting")
    next(items)
    progress.end()
    progress.end()
    assert capsys.readouterr().err.endswith("\n")


def test_lines_on_standard_output_draw_no_bar_into_a_log(capsys: pytest.CaptureFixture[str]) -> None:
    with progress.Bars() as bars:
        bars("outer")(1, 4)
        bars("inner")(1, 4)
        capsys.readouterr()
        for number in range(50):
            progress.above(f"line {number}", sys.stdout)
        said = capsys.readouterr()
        progress.above("error", sys.stderr)
        assert "error\n" in capsys.readouterr().err
    assert said.out.splitlines() == [f"line {number}" for number in range(50)] and not said.err
