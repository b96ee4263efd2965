"""Every stage on a GPU, pretended by tensors that refuse to mix with the CPU's, so that `cuda` ends in no mismatch."""

import json
import shutil
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch

from pipelines.support.graph import Graph, section_of
from srfoundry.blind import estimators
from srfoundry.blind.dkp import released
from srfoundry.blind.estimate import Networks, Resources
from srfoundry.core.compute import Compute
from srfoundry.core.seeds import generator
from srfoundry.imaging import images
from srfoundry.networks.nonblind.corrector import Corrector
from srfoundry.networks.sr.drn import DRN
from tests import stages
from tests.blind_cases import kernel, low, observed, tiny
from tests.conftest import REPO, mlflow_at
from tests.nonblind import data_steps
from tests.pretended_gpu import pretended_gpu
from tests.stages import folder
from tests.tiny_graph import STAGES

ASIDE = ["diffuse", "unfolded", "beamform"]
ELSEWHERE = {"kernel_step", "fusion"}  # in a test of its own, on larger photographs
VARIANTS: dict[str, tuple[list[str], dict[str, dict[str, Any]]]] = {
    "edsr, batches skipped, another search": (
        ["dual", "search", "prune"],
        {"dual": {"network": "edsr", "blocks": 2, "skip": 2.0, "restarts": 2}, "prune": {"start": "dual"}}
        | {"search": {"relaxation": "softmax", "importance": "weight", "multiple": 1, "remove": 0.1}},
    ),
    "swinir, the operator as dual map": (
        ["dual", "search", "prune"],
        {"dual": {"network": "swinir", "width": 12, "dual_map": "operator"}, "search": {"multiple": 1, "remove": 0.2}},
    ),
    "conditioned, under damage": (
        ["photo"],
        {"photo": {"network": "conditioned", "dual_map": "operator", "start": "scratch"}},
    ),
    "blind, with images without a photograph": (["dual"], {"dual": {"degradation": "blind", "unpaired_share": 0.5}}),
    "groups of filters": (["dual", "compress@50"], {"compress": {"method": "msgc"}}),
    "random channels": (["dual", "compress@50"], {"compress": {"method": "random"}}),
    "meta-training as published": (
        ["metatrain"],
        {"metatrain": {"support": "patches", "order": "first", "enlargement": "bicubic", "decimation": "both"}},
    ),
    "batches in parts, checkpointed blocks": (
        ["pretrain", "metatrain", "dual", "search", "compress@50", "nonblind", "diffuse"],
        {"distributed": {"accumulate": 2, "checkpointing": True}},
    ),
}


@pytest.fixture(scope="module")
def photographs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with tiny values, four small photographs, and what `synthesize` makes of them."""
    root = folder(tmp_path_factory.mktemp("photographs"))
    images.write(images.read(root / "inputs/photographs/china.png")[..., :32, :32], root / "inputs/unpaired/low.png")
    stages.run("synthesize", root)
    return root


@pytest.fixture
def factory(photographs: Path, tmp_path: Path) -> Path:
    """A folder of the test's own: whatever ran before it, or did not, it finds the same."""
    return shutil.copytree(photographs, tmp_path / "factory", symlinks=True)


def run(name: str, root: Path, changes: stages.Changes | None = None) -> None:
    """A stage's function on the pretended GPU."""
    stages.run(name, root, changes or {}, device=pretended_gpu())


def test_no_stage_mixes_tensors_of_two_devices(factory: Path, empty_store: Path) -> None:
    store = shutil.copy(empty_store, factory)  # where `export` registers: not in the project's own
    with mlflow_at(f"sqlite:///{store}"):
        for name in STAGES:
            run(name, factory)
    assert (factory / "mlartifacts").is_dir()
    scores = json.loads((factory / "results/evaluate/metrics.json").read_text())
    assert {"mzsr10_estimated", "finetune10_true"} <= set(scores["gauss20"])


@pytest.mark.parametrize("variant", VARIANTS)
def test_no_other_value_mixes_them(factory: Path, variant: str) -> None:
    """The networks, dual maps and methods that the repository's own values leave out."""
    names, changes = VARIANTS[variant]
    above = {each for name in names for each in Graph(factory, aside=name).ancestors(name)} - {*names, "synthesize"}
    for name in [each for each in STAGES if each in above]:
        stages.run(name, factory, changes)
    for name in names:
        run(name, factory, changes)


@pytest.mark.parametrize("method", ["dkp", "mlmc", "released"])
def test_no_estimator_mixes_them(factory: Path, method: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(released, "Program", partial(released.Program, outer=2, warm_up=2))
    stages.run("nonblind", factory)
    run("estimate", factory, {"estimate": {"method": method}})


@pytest.mark.parametrize("section", ASIDE)
def test_no_stage_beside_the_graph_mixes_them(factory: Path, section: str) -> None:
    run(section, factory)


def test_every_stage_is_run_here() -> None:
    aside = {path.parent.name for path in REPO.glob("graphs/*/dvc.yaml")}
    graph = {section_of(name) for name in Graph(REPO).order()} - {"environment"}
    assert graph | aside == {section_of(name) for name in STAGES} | set(ASIDE) | ELSEWHERE, "run it on the device, too"


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
