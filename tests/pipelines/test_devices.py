"""Every stage on a GPU, pretended by tensors that refuse to mix with the CPU's, so that `cuda` ends in no mismatch."""

import importlib
import json
import shutil
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from ruamel.yaml import YAML

from pipelines.support.graph import section_of
from pipelines.support.stage import Stage
from srfoundry.blind import estimators
from srfoundry.blind.dkp import released
from srfoundry.blind.estimate import Networks, Resources
from srfoundry.config import params
from srfoundry.core.compute import Compute
from srfoundry.core.seeds import generator
from srfoundry.imaging import images
from srfoundry.networks.nonblind.corrector import Corrector
from srfoundry.networks.sr.drn import DRN
from tests.blind_cases import kernel, low, observed, tiny
from tests.conftest import REPO, mlflow_at
from tests.nonblind import data_steps
from tests.pretended_gpu import pretended_gpu
from tests.tiny_graph import STAGES, TINY

LESS: dict[str, dict[str, Any]] = {
    "diffuse": {"widths": [8, 16], "patch": 16, "batch": 2, "steps": 2, "warmup": 1}
    | {"sampler": {"evaluations": 2, "start": 0.4, "guidance": 1.0, "renoise": 1.0, "floor": 0.002, "learn": 0.8}},
    "beamform": {"users": 2, "antennas": 2, "instances": 1, "snr": [10.0], "steps": 2, "iterations": 2, "restarts": 2},
    "synthesize": {
        "source": "folder",
        "held_out": ["coffee"],
        "validation": ["rocket"],
        "on_bad_image": "stop",
        "smallest": 64,
    }
    | {"bank": {"gaussian": 2, "noisy": 1, "line": 1, "trajectory": 1}},
}


@pytest.fixture(scope="module")
def factory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with tiny values and four small photographs."""
    root = tmp_path_factory.mktemp("factory")
    for name in ("src", "pipelines"):
        (root / name).symlink_to(REPO / name)
    shutil.copy(REPO / "dvc.yaml", root)
    shutil.copytree(REPO / "graphs", root / "graphs")
    (root / "results/environment").mkdir(parents=True)
    (root / "results/environment/versions.json").write_text("{}")
    for name in ("photographs", "kernels", "unpaired"):
        (root / "inputs" / name).mkdir(parents=True)
    for path in images.bundled():
        if path.stem in ("coffee", "rocket", "china", "ihc"):
            images.write(images.read(path)[..., 100:196, 150:246], root / f"inputs/photographs/{path.stem}.png")
    np.save(root / "inputs/kernels/mine.npy", np.full((3, 3), 1 / 9, dtype=np.float32))
    return root


def run(name: str, root: Path, **changes: dict[str, Any]) -> Stage:
    """A stage's function on the pretended GPU."""
    values = YAML(typ="safe").load((REPO / "params.yaml").read_text())
    for each in (TINY, LESS, changes):
        for section, some in each.items():
            values[section] |= some
    with (root / "params.yaml").open("w") as file:
        YAML().dump(values, file)
    stage = Stage(name, root, params.check(values, "params"))
    stage.__dict__["digests"] = {"data/synthesize": 32 * "0"}
    section = section_of(name)
    with pretended_gpu() as stage.__dict__["device"]:
        getattr(importlib.import_module(f"pipelines.{section}"), section)(stage)
    return stage


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


@pytest.mark.parametrize("section", ["diffuse", "beamform"])
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
