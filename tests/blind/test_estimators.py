"""The table of estimators: each by its name, those with trained networks, and what is refused."""

import json
import math
import re
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
import torch

from srfoundry.blind import estimators
from srfoundry.blind.dkp import released
from srfoundry.blind.dkp.mlmc import estimate_by_mlmc
from srfoundry.blind.estimate import NOTHING, BlindObservation, Resources
from srfoundry.blind.trained_networks import load_networks
from srfoundry.config.sections import Estimate
from srfoundry.core.compute import Compute
from srfoundry.core.errors import FoundryError
from srfoundry.core.seeds import generator, redraw
from srfoundry.degradation.observation import Sampling
from srfoundry.networks.nonblind.corrector import Corrector
from srfoundry.networks.nonblind.usrnet import USRNet, start_plain
from srfoundry.networks.zoo import cards
from srfoundry.networks.zoo.architectures import build
from tests.blind_cases import VALUES, kernel, low, observed, tiny
from tests.closed import CPU

SMALL = {"iterations": 2, "draws": 16, "updates": 2, "rounds": 2, "image_steps": 2, "kernel_steps": 2}


def networks(folder: Path) -> None:
    """Files as the stage nonblind writes them: data steps alone, which restore, if roughly, without training."""
    net = USRNet(widths=[4] * 4, blocks=1, iterations=2, residual=True)
    redraw(net, generator(1, "tiny"))
    start_plain(net)
    arch = {"name": "usrnet", "widths": [4] * 4, "blocks": 1, "iterations": 2, "residual": True}
    for name, each, made in (("nonblind", net, arch), ("corrector", Corrector(), {"name": "corrector"})):
        cards.save(folder / f"{name}.safetensors", each, arch=made, scale=2, made_by="nonblind", params_hash="0")


def test_methods_by_name() -> None:
    image, settings = observed(low(kernel(2.0, 1.0, 0.3))), tiny(**SMALL, method="mlmc")
    by_name = estimators.find("mlmc")(image, settings, rng=generator(1, "mlmc"))
    assert torch.equal(by_name.kernel, estimate_by_mlmc(image, settings, rng=generator(1, "mlmc")).kernel)
    mlmc, released = estimators.find("mlmc"), estimators.find("released")
    assert mlmc.iterations(settings) == 2 and mlmc.kernel_size(settings, NOTHING, 2) == 11
    assert released.iterations(settings) == 200 and released.kernel_size(settings, NOTHING, 3) == 15
    refused = f"must be one of {', '.join(estimators.ESTIMATORS)}, got 'magic'"
    with pytest.raises(FoundryError, match=refused):
        estimators.find("magic")
    with pytest.raises(ValueError, match=refused):
        tiny(method="magic")


def test_the_section_holds_every_value_once() -> None:
    """The objects' names are those of params.yaml, and none stands in two objects."""
    names = [name for keys in Estimate.inlined().values() for name in keys]
    assert sorted([*names, "method", "recentre", "precision"]) == sorted(VALUES)
    whole = Estimate.model_validate_json(json.dumps(Estimate.gathered(VALUES)))
    assert whole.spread() == json.loads(json.dumps(VALUES))


def test_the_restorer_that_is_loaded_computes_as_the_section_says_and_does_not_learn(tmp_path: Path) -> None:
    networks(tmp_path)
    restorers = [load_networks(tmp_path, 2, Compute(CPU), **hidden).restorer for hidden in ({}, {"hidden": "bfloat16"})]
    assert [each.precision for each in restorers] == ["float32", "bfloat16"]
    assert not any(each.requires_grad for each in restorers[0].parameters())


@pytest.mark.parametrize("method", ["fast", "free"])
def test_methods_that_take_the_trained_networks(tmp_path: Path, method: str) -> None:
    networks(tmp_path)
    resources = Resources(load_networks(tmp_path, 2, Compute(CPU, "auto")))
    settings = tiny(kernel_size=9, method=method, look=32)
    image, estimator = low(kernel(2.0, 1.0, 0.3))[..., :40, :40], estimators.find(method)
    found = estimator(observed(image), settings, resources, rng=generator(1, "trained"))
    assert found.kernel.shape == (1, 11, 11) and float(found.kernel.sum()) == pytest.approx(1, abs=1e-4)
    assert len(found.history) == estimator.iterations(settings) and found.box[2:] == (32, 32)
    bicubic = BlindObservation(image, Sampling(2, "bicubic"))
    with pytest.raises(FoundryError, match="direct decimation"):
        estimator(bicubic, settings, resources, rng=generator(1, "t"))
    with pytest.raises(FoundryError, match="no networks"):
        estimator(observed(image), settings, rng=generator(1, "t"))
    with pytest.raises(FoundryError, match="trained for x2"):
        load_networks(tmp_path, 3, Compute(CPU))
    untrained = ", ".join(name for name in estimators.ESTIMATORS if not estimators.find(name).trained)
    with pytest.raises(FoundryError, match=f"nonblind.safetensors not found, .* but {untrained} needs"):
        load_networks(tmp_path / "none", 2, Compute(CPU))


def test_a_network_beside_that_is_of_another_scale_counts_as_not_there(tmp_path: Path) -> None:
    """It may be left over, and of no method that is wanted; the method that takes it says what it needs."""
    networks(tmp_path)
    metrics = {"scales": [4]}
    for name in ("unfolded", "kernel_step", "fusion"):
        arch = {"name": name, "scales": [4], "widths": [4, 8, 8]}
        path = tmp_path / f"{name}.safetensors"
        cards.save(path, build(arch), arch=arch, scale=4, made_by=name, params_hash="0", metrics=metrics)
    found = load_networks(tmp_path, 2, Compute(CPU))
    assert (found.unfolded, found.kernel_step, found.fusion) == (None, None, None)
    with pytest.raises(FoundryError, match="unfolded.safetensors trained for x2, which is not there"):
        estimators.find("unfolded")(
            observed(low(kernel(2.0, 1.0, 0.3))),
            tiny(method="unfolded"),
            Resources(found),
            rng=generator(1, "unfolded"),
        )


@pytest.mark.parametrize("method", ["dkp", "mlmc"])
def test_noise_that_is_known_takes_the_place_of_the_settings(method: str) -> None:
    image = low(kernel(2.0, 1.0, 0.3))
    settings = tiny(**SMALL, method=method)
    noisy = replace(settings, spectrum=replace(settings.spectrum, noise=0.02))
    plain, known, set_ = (
        estimators.find(method)(observed(image, noise=noise), chosen, rng=generator(1, "noise")).kernel
        for noise, chosen in ((None, settings), (0.02, settings), (None, noisy))
    )
    assert torch.equal(known, set_) and not torch.equal(plain, set_)


DOT, EDGE = torch.zeros(1, 3, 24, 24), torch.zeros(1, 3, 24, 24)
DOT[..., 12, 12], EDGE[..., 12:] = 1, 1
ODD = {
    "one colour": torch.full((1, 3, 24, 24), 0.4),
    "black": torch.zeros(1, 3, 24, 24),
    "a dot": DOT,
    "an edge": EDGE,
    "a chequerboard": ((torch.arange(24)[:, None] + torch.arange(24)) % 2).float().expand(1, 3, 24, 24),
    "one colour of 8x8": torch.full((1, 3, 8, 8), 0.4),
} | {
    f"{height}x{width}": torch.rand(1, 3, height, width, generator=generator(1, "odd"))
    for height, width in ((1, 1), (1, 40), (2, 2), (3, 3), (8, 8), (8, 40))
}


@pytest.mark.parametrize("image", ODD.values(), ids=ODD)
@pytest.mark.parametrize("method", ["fast", "free", "dkp", "mlmc", "released"])
def test_images_with_little_in_them_end_in_a_kernel_or_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, method: str, image: torch.Tensor
) -> None:
    monkeypatch.setattr(released, "Program", partial(released.Program, outer=1, warm_up=2))
    networks(tmp_path)
    resources = Resources(load_networks(tmp_path, 2, Compute(CPU, "float32")))
    settings = tiny(**SMALL, method=method, look=32)
    try:
        found = estimators.find(method)(observed(image), settings, resources, rng=generator(1, "odd"))
    except FoundryError as error:
        assert re.search("too small|single colour", str(error)) and "give" in str(error)
        assert min(image.shape[-2:]) < 24 or len(image.unique()) == 1
    else:
        assert float(found.kernel.sum()) == pytest.approx(1, abs=1e-3) and float(found.kernel.min()) >= 0
        assert found.restored is None or bool(found.restored.isfinite().all())
        assert all(math.isfinite(value) for row in found.history for value in row.values())
