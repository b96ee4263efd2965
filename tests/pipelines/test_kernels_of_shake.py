"""The stages kernel_step and fusion: on photographs that are large enough, behind a restorer that denoises."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from srfoundry.blind.kernel_step import training
from srfoundry.blind.motion_deblur import learned_step
from srfoundry.core.errors import FoundryError
from srfoundry.networks.nonblind.fusion import Fusion
from srfoundry.networks.nonblind.kernel_step import KernelStep
from srfoundry.networks.zoo import cards
from srfoundry.restoration import fusion_training
from tests import stages
from tests.pretended_gpu import pretended_gpu
from tests.stages import FOUR, folder


@pytest.fixture
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """Searches of few rounds and steps: on the pretended GPU each operation takes long."""
    for name in ("CLIMB", "RESTORED", "TRAINED"):
        settings = replace(getattr(training, name), rounds=(1, 0), steps=2)
        settings = replace(settings, noises=settings.noises[:2])
        monkeypatch.setattr(training, name, settings)
    monkeypatch.setattr(learned_step, "DESCENT", 2)
    monkeypatch.setattr(training, "JUDGED", 1)
    monkeypatch.setattr(fusion_training, "JUDGED", 1)


@pytest.mark.usefixtures("hasty")
def test_on_a_device_it_trains_and_compares(tmp_path: Path) -> None:
    root = folder(tmp_path, dict.fromkeys(FOUR, 128))
    for name in ("synthesize", "nonblind"):
        stages.run(name, root)
    stages.run("kernel_step", root, device=pretended_gpu())
    net, card = cards.load(root / "models/kernel_step.safetensors")
    assert isinstance(net, KernelStep) and net.scales == (2,) and card.metrics["scales"] == [2]
    scores = json.loads((root / "results/kernel_step/metrics.json").read_text())
    assert {"x2_learned", "x2_plain", "parameters"} <= set(scores)
    stages.run("fusion", root, device=pretended_gpu())
    fusion, card = cards.load(root / "models/fusion.safetensors")
    assert isinstance(fusion, Fusion) and fusion.scales == (2,) and card.metrics["scales"] == [2]
    stages.run("nonblind", root, {"nonblind": {"steps": 0}})
    with pytest.raises(FoundryError, match=r"nothing but data steps, got nonblind.steps: 0; .* set nonblind.steps"):
        stages.run("kernel_step", root)
