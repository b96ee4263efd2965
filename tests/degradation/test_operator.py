"""The degradation is linear, has the adjoint that it says, and equals what MZSR's authors made."""

import numpy as np
import pytest
import torch

from srfoundry.core.errors import FoundryError
from srfoundry.core.seeds import generator
from srfoundry.degradation import conventions, kernels, operator
from srfoundry.imaging import images, resize
from tests.conftest import golden, reference


def rand(*shape: int) -> torch.Tensor:
    return torch.rand(*shape, dtype=torch.float64, generator=generator(0, *shape))


@pytest.mark.parametrize("decimation", ["direct", "bicubic"])
@pytest.mark.parametrize("border", ["reflect", "replicate", "circular", None])
@pytest.mark.parametrize("scale", [1, 2, 3, 4, 8])
@pytest.mark.parametrize("size", [(24, 48), (23, 19)])
@pytest.mark.parametrize(("convention", "taps"), [("mzsr", 7), ("usrnet", 6)])
def test_adjoint(
    decimation: operator.Decimation,
    border: conventions.Border | None,
    scale: int,
    size: tuple[int, int],
    convention: conventions.Name,
    taps: int,
) -> None:
    x, kernel = rand(2, 3, *size), kernels.normalise(rand(2, taps, taps))
    image = operator.degrade(x, kernel, scale, decimation=decimation, border=border, convention=convention)
    y = rand(*image.shape)
    back = operator.adjoint(y, kernel, scale, size, decimation=decimation, border=border, convention=convention)
    left, right = float((image * y).sum()), float((x * back).sum())
    assert left == pytest.approx(right, rel=1e-12)


@pytest.mark.parametrize("image", ["even", "odd", "p64"])
@pytest.mark.parametrize("scale", [2, 4])
def test_equals_the_reference(image: str, scale: int) -> None:
    stored = reference("mzsr_imresize")
    source = torch.from_numpy(stored[f"img_{image}"]).double().permute(2, 0, 1)[None]
    kernel = torch.from_numpy(stored["K"]).double()[None]
    pairs: list[tuple[str, operator.Decimation]] = [("direct", "direct"), ("bic", "bicubic")]
    for kind, decimation in pairs:
        expected = torch.from_numpy(stored[f"{image}_{kind}_down{scale}"]).permute(2, 0, 1)[None]
        made = operator.degrade(source, kernel, scale, decimation=decimation)
        assert float((made - expected).abs().max()) < 1e-6


def test_uneven_sampling_is_mzsrs() -> None:
    assert operator.sample_indices(23, 2).tolist() == [0, 2, 4, 6, 8, 10, 11, 13, 15, 17, 19, 21]
    assert operator.sample_indices(24, 2).tolist() == list(range(0, 24, 2))


@pytest.mark.parametrize("scale", [1.5, 2, 2.2, 2.8, 3, 3.4, 4, 8])
def test_sampling_is_numpys_at_every_size(scale: float) -> None:
    """MZSR's program: np.round(np.linspace(0, H - s, ceil(H / s))), to the last rounding of a half.

    But not where H / s comes out a little above the whole number that it is: the program then keeps one pixel more.
    """
    for extent in range(int(scale) + 1, 700):
        theirs = np.round(np.linspace(0, extent - scale, int(np.ceil(extent / scale - 1e-9)))).astype(int)
        assert operator.sample_indices(extent, scale).tolist() == theirs.tolist(), extent


@pytest.mark.parametrize("scale", [2.2, 2.6, 3, 3.4, 3.8])
def test_scales_between_whole_numbers_equal_the_reference(scale: float) -> None:
    """Reduced and enlarged again, as in the training of MZSR's multi-scale model."""
    stored = reference("mzsr_imresize")
    assert operator.sample_indices(64, scale).tolist() == stored[f"idx_{scale}"].tolist()
    source = torch.from_numpy(stored["img_p64"]).double().permute(2, 0, 1)[None]
    low = operator.degrade(source, torch.from_numpy(stored["K"])[None], scale)
    expected = torch.from_numpy(stored[f"p64_direct_down{scale}"]).permute(2, 0, 1)[None]
    assert low.shape == expected.shape and float((low - expected).abs().max()) < 1e-6
    enlarged = resize.cubic(expected.double(), scale, size=(64, 64))
    theirs = torch.from_numpy(stored[f"p64_direct_down{scale}_up"]).permute(2, 0, 1)[None]
    assert float((enlarged - theirs).abs().max()) < 1e-12


@pytest.mark.parametrize("decimation", ["direct", "bicubic"])
@pytest.mark.parametrize("scale", [1.5, 2.2, 3.4])
def test_scales_between_whole_numbers_have_an_adjoint(decimation: operator.Decimation, scale: float) -> None:
    x, kernel = rand(2, 3, 34, 29), kernels.normalise(rand(2, 7, 7))
    image = operator.degrade(x, kernel, scale, decimation=decimation)
    assert image.shape[-2:] == resize.output_size(x, 1 / scale), "both decimations give one size"
    y = rand(*image.shape)
    back = operator.adjoint(y, kernel, scale, (34, 29), decimation=decimation)
    assert float((image * y).sum()) == pytest.approx(float((x * back).sum()), rel=1e-12)


def test_whole_scales_are_the_same_written_with_a_point() -> None:
    x, kernel = rand(1, 3, 24, 25), kernels.normalise(rand(1, 5, 5))
    for convention in ("mzsr", "usrnet"):
        whole, point = (operator.degrade(x, kernel, scale, convention=convention) for scale in (2, 2.0))
        assert whole.equal(point)


def test_remakes_mzsrs_low_resolution_images() -> None:
    """In double precision from 8-bit pixels, as the authors computed: no pixel of half a million differs."""
    kernel = torch.from_numpy(np.load(golden("golden/mzsr_g20") / "kernel.npz")["kernel"])[None]
    different = total = 0
    for path in sorted(golden("golden/mzsr_g20").glob("*.png")):
        low = images.to_uint8(images.read(path))
        high = images.to_uint8(images.read(next(golden("test/Set5").glob(f"*{path.stem}*"))))
        high = high[:, : low.shape[1] * 2, : low.shape[2] * 2]
        made = operator.degrade(images.from_uint8(high, torch.float64), kernel, 2)
        different += int((images.to_uint8(made) != low).sum())
        total += low.numel()
    assert different == 0 and total > 200_000


def test_one_kernel_for_each_image_equals_one_at_a_time() -> None:
    x, bank = rand(3, 3, 20, 26), kernels.normalise(rand(3, 5, 5))
    together = operator.degrade(x, bank, 2)
    alone = torch.cat([operator.degrade(x[i : i + 1], bank[i : i + 1], 2) for i in range(3)])
    assert float((together - alone).abs().max()) < 1e-14


def test_one_kernel_for_the_patches_of_each_image() -> None:
    x, bank = rand(6, 3, 20, 26), kernels.normalise(rand(2, 5, 5))
    together = operator.degrade(x, bank, 2)
    assert float((together - operator.degrade(x, bank.repeat_interleave(3, 0), 2)).abs().max()) < 1e-14


def test_borders_are_what_they_are_called() -> None:
    """Against the image enlarged by numpy's padding of the same kind."""
    x, kernel = rand(1, 1, 12, 16), kernels.normalise(rand(1, 5, 5))
    modes = {"reflect": "symmetric", "replicate": "edge", "circular": "wrap"}
    for border, mode in modes.items():
        padded = torch.from_numpy(np.pad(x.numpy(), ((0, 0), (0, 0), (2, 2), (2, 2)), mode=mode))  # pyright: ignore
        expected = torch.nn.functional.conv2d(padded, kernel[None])[..., ::4, ::4]
        made = operator.degrade(x, kernel, 4, border=border)  # pyright: ignore[reportArgumentType]
        assert float((made - expected).abs().max()) < 1e-14


def test_compression_is_jpegs_and_lets_gradients_through() -> None:
    x, kernel = rand(1, 3, 64, 64).float().requires_grad_(), torch.ones(1, 1, 1)
    clean = operator.degrade(x, kernel, 2)
    low = operator.jpeg(clean, 90)
    assert low.detach().equal(images.jpeg(clean.detach(), 90)) and not low.equal(clean)
    slope = torch.autograd.grad(low.sum(), x, retain_graph=True)[0]
    assert slope.equal(torch.autograd.grad(clean.sum(), x)[0])


def test_noise_is_white_and_seeded() -> None:
    low = torch.zeros(1, 3, 128, 128)
    made = [operator.add_noise(low, 0.1, rng=generator(seed, "n")) for seed in (1, 1, 2)]
    assert made[0].equal(made[1]) and not made[0].equal(made[2])
    assert float(made[0].std()) == pytest.approx(0.1, rel=0.02)
    assert operator.add_noise(low, 0.0) is low
    with pytest.raises(FoundryError, match="generator"):
        operator.add_noise(low, 0.1)


def test_misfits_are_said() -> None:
    with pytest.raises(FoundryError, match="2 kernels for 3 images"):
        operator.degrade(rand(3, 3, 9, 9), kernels.normalise(rand(2, 3, 3)), 2)
    with pytest.raises(FoundryError, match="smaller than half"):
        operator.degrade(rand(1, 3, 5, 9), kernels.normalise(rand(1, 15, 15)), 2)
    for scale in (0.5, float("nan"), float("inf")):
        with pytest.raises(FoundryError, match="scale must be 1 or more"):
            operator.degrade(rand(1, 3, 9, 9), kernels.normalise(rand(1, 3, 3)), scale)
    with pytest.raises(FoundryError, match="usrnet keeps every s-th pixel, got scale 2.2"):
        operator.degrade(rand(1, 3, 9, 9), kernels.normalise(rand(1, 3, 3)), 2.2, convention="usrnet")


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("convention", ["mzsr", "dkp", "usrnet", "kernelgan"])
@pytest.mark.parametrize("decimation", ["direct", "bicubic"])
def test_a_gpu_gives_the_same_image(convention: conventions.Name, decimation: operator.Decimation) -> None:
    x, bank = rand(4, 3, 48, 60), kernels.normalise(rand(4, 15, 15))
    host = operator.degrade(x, bank, 3, convention=convention, decimation=decimation)
    device = operator.degrade(x.cuda(), bank.cuda(), 3, convention=convention, decimation=decimation).cpu()
    assert float((host - device).abs().max()) < 1e-12


def test_sizes_that_the_scale_does_not_divide_are_cut_as_the_program_does() -> None:
    x, delta = rand(1, 1, 23, 19), torch.ones(1, 1, 1, dtype=torch.float64)
    for convention in ("dkp", "usrnet"):
        assert operator.degrade(x, delta, 2, convention=convention).equal(x[..., ::2, ::2])
    rows, columns = operator.sample_indices(23, 2), operator.sample_indices(19, 2)
    for convention in ("mzsr", "kernelgan"):
        assert operator.degrade(x, delta, 2, convention=convention).equal(x[..., rows, :][..., columns])


def test_the_adjoint_is_there_in_inference_mode() -> None:
    kernel = kernels.normalise(rand(1, 5, 5))
    with torch.inference_mode():
        inside = operator.adjoint(rand(1, 3, 6, 8), kernel, 2, (12, 16))
    assert inside.equal(operator.adjoint(rand(1, 3, 6, 8), kernel, 2, (12, 16)))
