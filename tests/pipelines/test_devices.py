"""Every stage on a GPU, pretended by tensors that refuse to mix with the CPU's, so that `cuda` ends in no mismatch."""

import json
import shutil
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch

from srfoundry.blind import estimators
from srfoundry.blind.dkp import released
from srfoundry.blind.estimate import Networks, Resources
from srfoundry.core.compute import Compute
from srfoundry.core.seeds import generator
from srfoundry.networks.nonblind.corrector import Corrector
from srfoundry.networks.sr.drn import DRN
from tests import stages
from tests.blind_cases import kernel, low, observed, tiny
from tests.conftest import mlflow_at
from tests.nonblind import data_steps
from tests.pretended_gpu import pretended_gpu
from tests.stages import folder
from tests.tiny_graph import STAGES


@pytest.fixture(scope="module")
def factory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with tiny values and four small photographs."""
    return folder(tmp_path_factory.mktemp("factory"))


def run(name: str, root: Path, **changes: dict[str, Any]) -> None:
    """A stage's function on the pretended GPU."""
    stages.run(name, root, changes, device=pretended_gpu())


def test_no_stage_mixes_tensors_of_two_devices(factory: Path, empty_store: Path) -> None:
    store = shutil.copy(empty_store, factory)  # where `export` registers: not in the project's own
    with mlflow_at(f"sqlite:///{store}"):
        for name in STAGES:
            run(name, factory)
    assert (factory / "mlartifacts").is_dir()
    scores = json.loads((factory / "results/evaluate/metrics.json").read_text())
    assert {"mzsr10_estimated", "finetune10_true"} <= set(scores["gauss20"])


@pytest.mark.parametrize("method", ["dkp", "mlmc", "released"])
def test_no_estimator_mixes_them(factory: Path, method: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(released, "Program", partial(released.Program, outer=2, warm_up=2))
    run("estimate", factory, estimate={"method": method})


@pytest.mark.parametrize("section", ["diffuse", "unfolded", "beamform"])
def test_no_stage_beside_the_graph_mixes_them(factory: Path, section: str) -> None:
    run(section, factory)


def test_motion_estimation_does_not_mix_them() -> None:
    image = low(kernel(2.0, 0.8, 0.4))[..., :40, :40]
    with pretended_gpu() as device:
        nets = Networks(data_steps().to(device), Corrector().to(device), Compute(device))
        seen = observed(image.to(device), noise=0.0)
        found = estimators.find("free")(seen, tiny(method="free", look=32), Resources(nets), rng=generator(1, "free"))
        assert found.kernel.device.type == device.type and float(found.kernel.sum()) == pytest.approx(1, abs=1e-4)


def test_the_pretended_gpu_counts_as_the_cpu_does_with_complex_numbers() -> None:
    """The former fault of it: products with a conjugate forgot the conjugate."""
    spectrum = torch.fft.rfft2(torch.rand(2, 8, 8, generator=generator(1, "spectrum")))
    with pretended_gpu() as device:
        far = spectrum.to(device)
        for made in (lambda each: (each.conj() * each.roll(1, -1)).real, lambda each: each.conj().imag * 2):
            assert torch.equal(made(far).cpu(), made(spectrum))


def test_a_picture_of_the_cpu_in_a_network_on_the_device_is_found() -> None:
    """The former mismatch of `evaluate`: an image made without a device."""
    with pretended_gpu() as device:
        net = DRN(scale=2, blocks=1, width=4).to(device)
        assert net(torch.rand(1, 3, 8, 8).to(device)).device.type == device.type
        with pytest.raises(RuntimeError, match="same device"):
            net(torch.rand(1, 3, 8, 8))
        with pytest.raises(RuntimeError, match="generator"):
            torch.rand(3, generator=torch.Generator(), device=device)
        with pytest.raises((RuntimeError, TypeError)):
            next(net.parameters()).detach().numpy()
