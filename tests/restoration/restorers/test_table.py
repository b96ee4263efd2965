"""One call for all that restores a known blur: scales, seeds, what depends on noise, and what is refused."""

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from srfoundry.blind.diffusion.unet import make_unet, save_unet
from srfoundry.config.params import Params, load
from srfoundry.core.errors import FoundryError
from srfoundry.core.seeds import generator, redraw
from srfoundry.degradation.kernels import gaussian
from srfoundry.degradation.observation import Observation, Sampling
from srfoundry.degradation.operator import degrade
from srfoundry.degradation.reductions import combined
from srfoundry.networks.nonblind.corrector import Corrector
from srfoundry.networks.nonblind.usrnet import USRNet, start_plain
from srfoundry.networks.zoo import cards
from srfoundry.restoration.restorers import dip
from srfoundry.restoration.restorers.restorer import Restored, RestoreOptions, Restorer
from srfoundry.restoration.restorers.table import load_restorer
from srfoundry.restoration.restorers.usrnet import UsrnetRestorer
from tests.blind_cases import power_law
from tests.shipped import SHIPPED

BLUR = gaussian(9, *(torch.tensor([value]) for value in (1.5, 0.8, 0.4))).float()
LOW = degrade(power_law(32, 1).clamp(0, 1), BLUR, 2)


def params() -> Params:
    """The house's, with a small image network and few evaluations."""
    chosen = load(SHIPPED)
    small = dataclasses.replace(chosen.estimate.image, width=4, levels=2)
    estimate = chosen.estimate.model_copy(update={"image": small})
    sampler = dataclasses.replace(chosen.diffuse.sampler, evaluations=3)
    diffuse = chosen.diffuse.model_copy(update={"sampler": sampler})
    return chosen.model_copy(update={"estimate": estimate, "diffuse": diffuse})


def restorer(model: Path | str, **changes: Any) -> Restorer:
    options = RestoreOptions(**{"model": Path(model), "params": SHIPPED, "scale": 2} | changes)
    return load_restorer(options, params())


def diffusion(folder: Path) -> Path:
    net = make_unet(patch=16, widths=[8, 16], rng=generator(1, "net"))
    torch.nn.init.normal_(net.conv_out.weight, std=0.05, generator=generator(1, "out"))
    save_unet(folder / "prior", net)
    return folder / "prior"


def usrnet(path: Path, **metrics: object) -> Path:
    net = USRNet(widths=[4] * 4, blocks=1, iterations=2, residual=True)
    redraw(net, generator(0, "conditioned"))
    start_plain(net)
    arch = {"name": "usrnet", "widths": [4] * 4, "blocks": 1, "iterations": 2, "residual": True}
    cards.save(path, net, arch=arch, scale=2, made_by="nonblind", params_hash="0", metrics=metrics)
    return path


def run(found: Restorer, name: str = "photo") -> tuple[Restored, list[tuple[int, int]]]:
    ticks: list[tuple[int, int]] = []
    observation = Observation(LOW, BLUR, Sampling(2), 0.01)
    return found.restore(observation, name, lambda title: lambda done, total: ticks.append((done, total))), ticks


def test_each_kind_restores_and_tells_how_far_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dip, "STEPS", 2)
    cases = (("dip", False), (diffusion(tmp_path), True), (usrnet(tmp_path / "a.safetensors"), True))
    for model, uses_noise in cases:
        found = restorer(model)
        restored, ticks = run(found)
        assert restored.image.shape == (1, 3, 32, 32) and found.scale == 2 and found.uses_noise == uses_noise
        assert 0 <= float(restored.image.min()) and float(restored.image.max()) <= 1
        assert ticks and ticks[-1][0] == ticks[-1][1] and ("of 255" in restored.how) == uses_noise


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_a_usrnet_computes_as_the_section_estimate_says(tmp_path: Path, precision: str) -> None:
    chosen = params()
    chosen = chosen.model_copy(update={"estimate": chosen.estimate.model_copy(update={"precision": precision})})
    options = RestoreOptions(usrnet(tmp_path / "a.safetensors"), SHIPPED, scale=2)
    found = load_restorer(options, chosen)
    assert isinstance(found, UsrnetRestorer) and found.net.precision == precision


def test_seeds_depend_on_the_image_and_not_on_the_spelling_of_the_model(tmp_path: Path) -> None:
    model = diffusion(tmp_path)
    one, again, other = (
        run(restorer(path), name)[0]
        for path, name in ((model, "a"), (tmp_path / "prior" / ".." / "prior", "a"), (model, "b"))
    )
    assert torch.equal(one.image, again.image) and not torch.equal(one.image, other.image)
    assert run(restorer(tmp_path / "prior" / "unet" / ".."))[0].how.startswith("diffusion prior prior, ")


def test_networks_of_other_purposes_are_refused(tmp_path: Path) -> None:
    cards.save(
        tmp_path / "c.safetensors", Corrector(), arch={"name": "corrector"}, scale=2, made_by="x", params_hash="0"
    )
    with pytest.raises(FoundryError, match=r"the word dip.*mzsr.*usrnet.*got corrector in"):
        restorer(tmp_path / "c.safetensors")


def test_a_network_is_refused_at_scales_it_was_not_trained_for(tmp_path: Path) -> None:
    several, single = usrnet(tmp_path / "a.safetensors", scales=[2, 3]), usrnet(tmp_path / "b.safetensors")
    assert restorer(several, scale=3).scale == 3 and restorer(several, scale=None).scale == 2
    with pytest.raises(FoundryError, match="was trained for x2, x3, got scale 4"):
        restorer(several, scale=4)
    with pytest.raises(FoundryError, match="was trained for x2, got scale 3"):
        restorer(single, scale=3)


@pytest.mark.parametrize("make", [diffusion, lambda folder: usrnet(folder / "a.safetensors")])
def test_bicubic_decimation_is_part_of_the_blur_where_a_model_undoes_direct_decimation_alone(
    tmp_path: Path, make: Callable[[Path], Path]
) -> None:
    blur = torch.eye(5)[None] / 5
    low = torch.rand(1, 3, 20, 24, generator=generator(1, "low"))
    one = restorer(make(tmp_path), scale=2)
    direct, bicubic = (
        one.restore(Observation(low, kernel, sampling), "a").image
        for kernel, sampling in ((combined(blur, "bicubic", 2), Sampling(2)), (blur, Sampling(2, "bicubic")))
    )
    assert torch.equal(direct, bicubic)
