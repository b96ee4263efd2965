"""Kernel estimation of files: trained networks are loaded once for all of a run's images."""

from functools import partial
from pathlib import Path

import pytest
import torch

from srfoundry.blind import jobs
from srfoundry.blind.trained_networks import load_networks
from srfoundry.core import parallel
from srfoundry.core.compute import Compute
from srfoundry.core.seeds import Stream
from srfoundry.imaging import images
from tests.blind.test_estimators import networks
from tests.blind_cases import kernel, low, tiny
from tests.closed import CPU


def test_a_run_loads_its_networks_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    loaded = []

    def counted(models: Path, scale: int, compute: Compute, *, hidden: str) -> object:
        loaded.append(models)
        return load_networks(models, scale, compute, hidden=hidden)

    monkeypatch.setattr(jobs, "load_networks", counted)
    networks(tmp_path)
    image = low(kernel(2.0, 1.0, 0.3))[..., :40, :40]
    for name in "abc":
        images.write(image.roll(ord(name), -1), tmp_path / f"{name}.png")
    waiting = [jobs.Job(tmp_path / f"{name}.png", tmp_path / f"{name}.pt", (name,)) for name in "abc"]
    for key in ("k", "other params, data or code"):
        work = jobs.Work(
            tiny(method="fast", look=32), 2, Stream(1, "estimate"), key, Compute(CPU, "float32"), tmp_path, None
        )
        found = list(parallel.threads(2)(partial(jobs.estimate_kernel_of_file, work=work), waiting, "t"))
        assert len({row[0]["correction"] for _, row in found}) == 3
        assert all(torch.isfinite(each).all() for each, _ in found)
    assert len(loaded) == 2
