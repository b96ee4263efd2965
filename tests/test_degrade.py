"""The degradation is linear, has the adjoint that it says, and equals what MZSR's authors made."""

import numpy as np
import pytest
import torch
from conftest import golden

from srfoundry import degrade, images, kernels
from srfoundry.errors import FoundryError
from srfoundry.seeds import generator


def rand(*shape: int) -> torch.Tensor:
    return torch.rand(*shape, dtype=torch.float64, generator=generator(0, *shape))


@pytest.mark.parametrize("decimation", ["direct", "bicubic"])
@pytest.mark.parametrize("border", ["reflect", "replicate", "circular"])
@pytest.mark.parametrize("scale", [2, 3, 4])
@pytest.mark.parametrize("size", [(24, 36), (23, 19)])
def test_adjoint(decimation: degrade.Decimation, border: degrade.Border, scale: int, size: tuple[int, int]) -> None:
    x, kernel = rand(2, 3, *size), kernels.normalise(rand(2, 7, 7))
    image = degrade.degrade(x, kernel, scale, decimation=decimation, border=border)
    y = rand(*image.shape)
    back = degrade.adjoint(y, kernel, scale, size, decimation=decimation, border=border)
    left, right = float((image * y).sum()), float((x * back).sum())
    assert left == pytest.approx(right, rel=1e-12)


@pytest.mark.parametrize("image", ["even", "odd", "p64"])
@pytest.mark.parametrize("scale", [2, 4])
def test_equals_the_reference(image: str, scale: int) -> None:
    stored = np.load(golden("golden/reference/mzsr_imresize.npz"))
    source = torch.from_numpy(stored[f"img_{image}"]).double().permute(2, 0, 1)[None]
    kernel = torch.from_numpy(stored["K"]).double()[None]
    pairs: list[tuple[str, degrade.Decimation]] = [("direct", "direct"), ("bic", "bicubic")]
    for kind, decimation in pairs:
        expected = torch.from_numpy(stored[f"{image}_{kind}_down{scale}"]).permute(2, 0, 1)[None]
        made = degrade.degrade(source, kernel, scale, decimation=decimation)
        assert float((made - expected).abs().max()) < 1e-6


def test_uneven_sampling_is_mzsrs() -> None:
    assert degrade.sample_indices(23, 2).tolist() == [0, 2, 4, 6, 8, 10, 11, 13, 15, 17, 19, 21]
    assert degrade.sample_indices(24, 2).tolist() == list(range(0, 24, 2))


def test_remakes_the_published_low_resolution_images() -> None:
    kernel = torch.from_numpy(np.load(golden("golden/mzsr_g20") / "kernel.npz")["kernel"])[None]
    different = total = 0
    for path in sorted(golden("golden/mzsr_g20").glob("*.png")):
        low = images.read(path)
        high = images.read(next(golden("test/Set5").glob(f"*{path.stem}*")))
        high = high[..., : low.shape[-2] * 2, : low.shape[-1] * 2].double()
        made = degrade.degrade(high, kernel.double(), 2).clamp(0, 1)
        different += int(((made * 255).round() != (low * 255).round()).sum())
        total += low.numel()
    assert different <= 1 and total > 200_000  # one tie in half a million pixels


def test_one_kernel_for_each_image_equals_one_at_a_time() -> None:
    x, bank = rand(3, 3, 20, 26), kernels.normalise(rand(3, 5, 5))
    together = degrade.degrade(x, bank, 2)
    alone = torch.cat([degrade.degrade(x[i : i + 1], bank[i : i + 1], 2) for i in range(3)])
    assert float((together - alone).abs().max()) < 1e-14


def test_noise_is_white_and_seeded() -> None:
    x, kernel = torch.zeros(1, 3, 256, 256), torch.ones(1, 1, 1)
    made = [degrade.degrade(x, kernel, 2, noise=0.1, rng=generator(seed, "n")) for seed in (1, 1, 2)]
    assert made[0].equal(made[1]) and not made[0].equal(made[2])
    assert float(made[0].std()) == pytest.approx(0.1, rel=0.02)
    with pytest.raises(FoundryError, match="generator"):
        degrade.degrade(x, kernel, 2, noise=0.1)


def test_misfits_are_said() -> None:
    with pytest.raises(FoundryError, match="2 kernels for 3 images"):
        degrade.degrade(rand(3, 3, 9, 9), kernels.normalise(rand(2, 3, 3)), 2)
    with pytest.raises(FoundryError, match="smaller than half"):
        degrade.degrade(rand(1, 3, 5, 9), kernels.normalise(rand(1, 15, 15)), 2)
