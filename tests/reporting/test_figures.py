"""Figures as files: whoever is interrupted while one is drawn leaves the former one, whole."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from matplotlib.figure import Figure

from srfoundry.reporting import beamforming, compression, curves, pictures

HISTORY = [{"step": float(step), "loss": 1.0 / step} for step in (1, 2, 3)]
DRAWN: dict[str, Callable[[Path], None]] = {
    "curves": lambda path: curves.curves_picture(path, HISTORY, ["loss"], "toy"),
    "beamforming": lambda path: beamforming.rates_picture(path, {"SNR, dB": {"one": ([1.0, 2.0], [3.0, 4.0])}}),
    "family": lambda path: compression.family_picture(path, {"p50": 30.0}, {"parameters, K": {"p50": 1.0}}),
    "lines": lambda path: pictures.lines(path, {"one": [(1.0, 2.0), (2.0, 3.0)]}, "steps", "dB"),
}


@pytest.mark.parametrize("name", DRAWN)
def test_an_interrupted_picture_leaves_the_former_one(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "made" / "picture.png"
    DRAWN[name](path)
    before = path.read_bytes()
    whole = Figure.savefig

    def interrupted(figure: Figure, target: Path, **more: Any) -> None:
        whole(figure, target, **more)
        target.write_bytes(target.read_bytes()[:100])
        raise KeyboardInterrupt

    monkeypatch.setattr(Figure, "savefig", interrupted)
    with pytest.raises(KeyboardInterrupt):
        DRAWN[name](path)
    assert path.read_bytes() == before and [each.name for each in path.parent.iterdir()] == [path.name]
