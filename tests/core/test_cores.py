"""A container's quota bounds the cores; nothing else does."""

import os
from pathlib import Path

import pytest

from srfoundry.core import cores

HERE = len(os.sched_getaffinity(0))


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ("100000 100000", 1),
        ("50000 100000", 1),
        ("150000 100000", min(2, HERE)),
        ("max 100000", HERE),
        ("99900000 100000", HERE),
        ("", HERE),
    ],
)
def test_a_quota_bounds_the_cores(tmp_path: Path, said: str, expected: int) -> None:
    (tmp_path / "cpu.max").write_text(said + "\n")
    assert cores.usable(tmp_path / "cpu.max") == expected


def test_a_system_that_knows_neither_counts_its_cores(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "sched_getaffinity")
    assert cores.usable(tmp_path / "none") == (os.cpu_count() or 1)


def test_what_runs_beside_leaves_fewer_to_spare(monkeypatch: pytest.MonkeyPatch) -> None:
    """Stages side by side, and the processes of one training."""
    monkeypatch.setattr(cores, "usable", lambda: 8)
    monkeypatch.delenv(cores.SIDE_BY_SIDE, raising=False)
    monkeypatch.delenv("LOCAL_WORLD_SIZE", raising=False)
    assert cores.spare(1) == 7
    monkeypatch.setenv(cores.SIDE_BY_SIDE, "2")
    assert cores.spare(1) == 3
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "4")
    assert cores.spare(1) == 0 and cores.spare(3) == 0
