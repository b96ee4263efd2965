"""What adaptation is worth, as the benchmark counts it: against the same net without a step, image by image."""

import pytest

from benchmarks import _adaptation


def test_gains_are_those_over_no_step_and_the_worst_image_counts() -> None:
    scores = {
        "bicubic": [20.0, 21.0],
        "mzsr0_true": [30.0, 31.0],
        "mzsr1_true": [30.2, 31.0],
        "mzsr10_true": [30.6, 30.8],
        "mzsr0_wide": [28.0, 28.0],
        "mzsr10_wide": [29.0, 28.5],
        "finetune10_true": [25.0, 25.0],
        "zssr": [29.0, 29.0],
    }
    gains = _adaptation.over_zero(scores)
    assert set(gains) == {"mzsr1_true", "mzsr10_true", "mzsr10_wide"}
    assert gains["mzsr10_true"] == {"over_zero_db": pytest.approx(0.2), "worst_db": pytest.approx(-0.2)}
    rows = [{"method": method, **gains.get(method, {})} for method in scores]
    assert _adaptation.figures(rows, 10) == pytest.approx(
        {
            "adaptation_gain_true": 0.2,
            "adaptation_gain_quarter": 0.75,
            "adaptation_worst": -0.2,
            "adaptation_first_step_share": 0.5,
        }
    )
    assert _adaptation.figures([{"method": "bicubic"}], 10) == {}
