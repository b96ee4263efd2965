"""Learning rates: warm-up, cosines and their restarts, MZSR's phases."""

import pytest

from srfoundry.training.schedules import cosine, rate, restarted


def test_learning_rate_rises_and_falls() -> None:
    rates = [cosine(step, 100, 1.0, 0.1, warmup=10) for step in range(101)]
    assert rates[0] == pytest.approx(0.1) and max(rates) == rates[10] == 1.0 and rates[100] == pytest.approx(0.1)
    assert rates[10:] == sorted(rates[10:], reverse=True)


def test_schedules_are_the_papers() -> None:
    """MZSR's phase 1: 4e-4, halved every 100,000 of 500,000 steps, never below 1e-4; phase 2: constant."""
    steps = (0, 99_999, 100_000, 199_999, 200_000, 300_000, 499_999)
    stairs = [rate("staircase", step, 500_000, 4e-4) for step in steps]
    assert stairs == pytest.approx([4e-4, 4e-4, 2e-4, 2e-4, 1e-4, 1e-4, 1e-4], rel=1e-12)
    assert {rate("constant", step, 100, 1e-4) for step in range(100)} == {1e-4}
    for schedule in ("cosine", "staircase", "constant"):
        climb = [rate(schedule, step, 100, 1.0, warmup=4) for step in range(4)]
        assert climb == [0.25, 0.5, 0.75, 1.0]
    assert [rate("cosine", step, 9, 1.0, warmup=2) for step in range(9)] == [
        cosine(step, 9, 1.0, warmup=2) for step in range(9)
    ]


def test_restarts_are_cosines_one_after_the_other() -> None:
    assert [restarted(i, 50, 0.1, warmup=5) for i in range(50)] == [cosine(i, 50, 0.1, warmup=5) for i in range(50)]
    rates = [restarted(i, 10, 1.0, restarts=3) for i in range(10)]
    assert [i for i, rate in enumerate(rates) if rate == 1.0] == [0, 4, 7], "cycles of 4, 3 and 3 steps"
    assert all(rates[i] > rates[i + 1] for i in (0, 1, 2, 4, 5, 7, 8))
    assert restarted(1, 10, 1.0, warmup=2, restarts=2) == 1.0 and restarted(5, 10, 1.0, warmup=2, restarts=2) == 1.0
