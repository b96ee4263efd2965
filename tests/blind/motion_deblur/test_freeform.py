"""Free-form kernels: the tap equations are exact, the simplex is kept, and a camera shake is found from one image."""

import dataclasses
import math
from typing import Any

import pytest
import torch
from torch.nn import functional

from srfoundry.blind.estimate import BlindObservation, Estimate
from srfoundry.blind.motion_deblur import freeform, rim, taps
from srfoundry.blind.motion_deblur.estimation import estimate_by_edges
from srfoundry.blind.motion_deblur.freeform import (
    CLIMB,
    QUICK,
    RESTORED,
    FreeFormSettings,
    find_free_form_kernel,
)
from srfoundry.blind.motion_deblur.latent_image import latent
from srfoundry.blind.motion_deblur.learned_step import learned_taps
from srfoundry.blind.motion_deblur.witnesses import residual_with
from srfoundry.core.errors import Diverged, FoundryError
from srfoundry.core.seeds import generator, redraw
from srfoundry.core.state import silent
from srfoundry.degradation import conventions, kernels
from srfoundry.degradation.observation import Sampling
from srfoundry.degradation.operator import degrade
from srfoundry.networks.nonblind.kernel_step import KernelStep
from srfoundry.networks.nonblind.usrnet import PeriodicObservation
from tests.blind_cases import observed, tiny
from tests.nonblind import tiny_usrnet

SIZE = 9


def blocks(height: int, width: int) -> torch.Tensor:
    """Rectangles of random colours and places on top of each other, with wrapped borders: an image of few edges."""
    rng = generator(1, "blocks")
    image = torch.full((1, 3, height, width), 0.5)
    for _ in range(60):
        top, left, rows, columns = (
            (torch.rand(4, generator=rng) * torch.tensor([height, width, 28, 28])).long().tolist()
        )
        image = image.roll((-top, -left), (-2, -1))
        image[..., : rows + 4, : columns + 4] = torch.rand(3, 1, 1, generator=rng)
        image = image.roll((top, left), (-2, -1))
    return image


def shake() -> torch.Tensor:
    """A path with a corner, and a longer stay at its end."""
    path = torch.tensor([[-3.0, -2.0], [-2, -1.5], [-1, -1], [0, -1], [0.5, 0], [1, 1], [1.5, 2], [1.5, 2], [2, 3]])
    return kernels.splat(SIZE, (path - path.mean(0))[None].double()).float()


def alike(found: torch.Tensor, true: torch.Tensor) -> float:
    """Normalised correlation at the best shift: 1 for the same form."""
    spectra = [torch.fft.rfft2(kernel[0], s=(64, 64)) for kernel in (found, true)]
    return float(torch.fft.irfft2(spectra[0].conj() * spectra[1], s=(64, 64)).max() / (found.norm() * true.norm()))


@pytest.mark.parametrize("scale, size", [(1, 5), (2, 9), (3, 7)])
def test_equations_are_those_of_the_degradation(scale: int, size: int) -> None:
    high = torch.rand(1, 2, 12 * scale, 10 * scale, generator=generator(2, "high"))
    low = torch.rand(1, 2, 12, 10, generator=generator(2, "low"))
    gram, right = taps.equations(high, low, scale=scale, size=size)
    kernel = torch.rand(1, size, size, generator=generator(2, "kernel"))
    made = degrade(high, kernel, scale, border="circular")
    steps, wanted = ([image.roll(-1, axis) - image for axis in (-2, -1)] for image in (made, low))
    flat = kernel.flatten().double()
    assert float(flat @ gram @ flat) == pytest.approx(sum(float(part.square().sum()) for part in steps), rel=1e-5)
    across = sum(float((one * other).sum()) for one, other in zip(steps, wanted, strict=True))
    assert float(right @ flat) == pytest.approx(across, rel=1e-4, abs=1e-3)


@pytest.mark.parametrize("border", ["circular", "reflect"])
def test_kernel_of_a_known_image_is_found(border: str) -> None:
    high, true = blocks(96, 80), shake()
    if border == "circular":
        low, weight = degrade(high, true, 2, border="circular"), None
    else:  # the frame that _periodic adds is unknown here; it does not count
        low, weight = rim.made_periodic(degrade(high, true, 2, border="reflect"), 5, 10)
        room = [2 * (big - small // 2) for big, small in zip(low.shape[-2:], high.shape[-2:], strict=True)]
        high = functional.pad(high, (0, room[1], 0, room[0]))
    found = taps.solve(taps.equations(high, low, scale=2, size=SIZE, weight=weight), ridge=1e-5, smooth=1e-5)
    assert float(found.sum()) == pytest.approx(1, abs=1e-5) and float(found.min()) >= 0
    assert alike(found, true) > (0.999 if border == "circular" else 0.97)


def test_simplex_projection_is_the_nearest_point() -> None:
    point = torch.randn(20, generator=generator(3, "point"), dtype=torch.float64)
    nearest = taps.on_simplex(point)
    assert float(nearest.sum()) == pytest.approx(1) and float(nearest.min()) >= 0
    others = torch.distributions.Dirichlet(torch.full((20,), 0.3, dtype=torch.float64)).sample((200,))
    # the projection's defining inequality: the way back makes an obtuse angle with the way to any other point
    assert float(((others - nearest) @ (point - nearest)).max()) <= 1e-12


@pytest.mark.parametrize("scale", [1, 2])
def test_latent_image_agrees_with_what_was_seen(scale: int) -> None:
    high, true = blocks(64, 48).mean(1, keepdim=True), shake()
    low = degrade(high, true, scale, border="circular")
    image = latent(low, true, scale=scale, edges=1e-5)
    again = PeriodicObservation(low, true, scale).reduce(image)
    assert float((again - low).square().mean()) < 1e-3 * float(low.var())
    start = functional.interpolate(low, scale_factor=scale, mode="bicubic")
    assert float((image - high).square().mean()) < 0.5 * float((start - high).square().mean())


def test_only_the_right_kernel_explains_the_image_by_its_sharp_one() -> None:
    high, true = blocks(64, 48), kernels.centred(shake())
    low = degrade(high, true, 2, border="circular")
    seen = BlindObservation(low, Sampling(2, border="circular"), 0.0)
    wrong = kernels.gaussian(SIZE, torch.tensor([3.0]), torch.tensor([3.0]), torch.zeros(1)).float()
    right, other = (residual_with(seen, kernel, lambda low, kernel, scale, noise: high) for kernel in (true, wrong))
    assert right < 1e-3 < 0.01 < other


def test_noise_need_not_be_explained() -> None:
    noise, true = 5 / 255, kernels.centred(shake())
    high = blocks(64, 48)
    low = degrade(high, true, 2, border="circular")
    low = low + noise * torch.randn(low.shape, generator=generator(3, "noise"))
    explained, clean = (
        residual_with(
            BlindObservation(low, Sampling(2, border="circular"), level), true, lambda low, kernel, scale, noise: high
        )
        for level in (noise, 0.0)
    )
    assert explained < 1.2 / 255 < noise < 1.1 * clean


def test_the_rim_of_a_periodic_photograph_does_not_count() -> None:
    unused, room = rim.rims(25, 2, (1 / 3, 1.0))
    assert (unused, room) == (4, 13)
    assert rim.rims(3, 4, (1 / 3, 1.0)) == (1, 2), "a kernel within one pixel leaves a rise, too"
    image, weight = rim.made_periodic(torch.rand(1, 1, 192, 128, generator=generator(5, "image")), unused, room)
    assert image.shape[-2:] == weight.shape[-2:] == (216, 144)  # 13 pixels more, or some more
    assert float(weight[..., :4, :].max()) == 0 and float(weight[..., 188:, :].max()) == 0
    assert float(weight[..., 13:179, 13:115].min()) == 1


def test_faint_taps_and_islands_fall_and_the_rest_is_settled() -> None:
    kernel = torch.zeros(1, 9, 9)
    kernel[0, 1:4, 1], kernel[0, 7, 7], kernel[0, 8, 0] = 0.3, 0.02, 0.001
    kept = taps.settled(taps.pruned(kernel, faint=0.05))
    assert torch.equal(
        kept,
        torch.zeros(1, 9, 9).index_put(
            (torch.zeros(3).long(), torch.tensor([3, 4, 5]), torch.full((3,), 4)), kept.max()
        ),
    )
    assert float(kept.sum()) == pytest.approx(1)


def test_of_islands_that_are_all_minor_the_heaviest_stays() -> None:
    kernel = torch.zeros(1, 9, 9)
    kernel[0, ::2, ::2] = 0.04
    kernel[0, 4, 4] = 0.05
    kept = taps.pruned(kernel, faint=0.05, minor=0.1)
    assert float(kept[0, 4, 4]) == 1 and int((kept > 0).sum()) == 1
    kernel[0, 4, 4] = 0.04
    assert torch.isfinite(taps.pruned(kernel, faint=0.05, minor=0.1)).all()


def test_resampling_keeps_the_blur_about_the_middle() -> None:
    narrow = kernels.gaussian(9, *(torch.tensor([value]) for value in (1.5, 0.8, 0.4)))
    wide = taps.resampled(narrow, 21, 2.0)
    axis = torch.arange(21.0) - 10
    assert conventions.centre_of_mass(wide)[0].tolist() == pytest.approx([10, 10], abs=1e-3)
    first = float((wide.sum(-1) * axis**2).sum())
    axis = torch.arange(9.0) - 4
    assert math.sqrt(first) == pytest.approx(2 * math.sqrt(float((narrow.sum(-1) * axis**2).sum())), rel=0.1)


def find(low: torch.Tensor, scale: int, border: conventions.Border = "circular", **more: Any) -> torch.Tensor:
    settings = FreeFormSettings(edges=(4e-3,), rounds=(4, 5), noises=(0.0,))
    return find_free_form_kernel(observed(low, scale, border, 0.0), SIZE, settings, rng=generator(1, "rng"), **more)


@pytest.mark.parametrize("scale, border, least", [(1, "circular", 0.9), (2, "circular", 0.8), (1, "reflect", 0.8)])
def test_finds_a_shake_from_the_image_alone(scale: int, border: conventions.Border, least: float) -> None:
    true = shake()
    low = degrade(blocks(64 * scale, 56 * scale), true, scale, border=border)
    found = find(low, scale=scale, border=border)
    assert found.shape == (1, SIZE, SIZE) and float(found.min()) >= 0
    assert float(found.sum()) == pytest.approx(1, abs=1e-5)
    assert conventions.centre_of_mass(found)[0].tolist() == pytest.approx([4, 4], abs=0.1)
    dot = torch.zeros_like(true)
    dot[0, 4, 4] = 1
    assert alike(found, true) > max(least, alike(dot, true))


def test_by_edges_alone_one_beginning_finds_it() -> None:
    true, rows = shake(), list[dict[str, float]]()
    low = degrade(blocks(128, 112), true, 2, border="circular")
    found = estimate_by_edges(
        observed(low, 2, "circular", 0.0), tiny(), rng=generator(1, "rng"), log=lambda step, row: rows.append(dict(row))
    )
    assert len(rows) == 1 and alike(found.kernel, true) > 0.8


Asked = tuple[FreeFormSettings, torch.Size, bool, bool]


@pytest.fixture
def searches(monkeypatch: pytest.MonkeyPatch) -> list[Asked]:
    """Of each search, which finds nothing: how, on what, from a kernel or not, through a network or not."""
    seen = list[Asked]()

    def found(
        observation: BlindObservation,
        size: int,
        settings: FreeFormSettings,
        *,
        start: torch.Tensor | None = None,
        restore: object = None,
        **more: object,
    ) -> torch.Tensor:
        seen.append((settings, observation.low.shape[-2:], start is not None, restore is not None))
        return torch.full((1, size, size), size**-2)

    monkeypatch.setattr("srfoundry.blind.motion_deblur.estimation.find_free_form_kernel", found)
    return seen


def test_by_edges_a_larger_window_is_looked_at(searches: list[Asked]) -> None:
    low, settings = torch.rand(1, 3, 230, 210, generator=generator(6, "low")), tiny()
    for look in (64, 200):
        wider = dataclasses.replace(settings, windows=dataclasses.replace(settings.windows, look=look))
        estimate_by_edges(observed(low, 2, "reflect", 0.0), wider, rng=generator(1, "rng"), log=silent)
    assert searches == [(QUICK, (192, 192), False, False), (QUICK, (200, 200), False, False)]


def test_by_edges_a_network_that_denoises_takes_the_last_rounds(searches: list[Asked]) -> None:
    """And a plain one, which knows nothing of photographs, takes the descent after them."""
    low, net = torch.rand(1, 3, 230, 210, generator=generator(6, "low")), tiny_usrnet()

    def estimated() -> Estimate:
        return estimate_by_edges(observed(low, 2, "reflect", 0.0), tiny(), net=net, rng=generator(1, "rng"), log=silent)

    even = estimated().kernel
    assert searches == [(QUICK, (192, 192), False, False)] and float(even.std()) > 1e-6
    torch.nn.init.normal_(net.denoiser.tail.weight, std=1e-3)
    found = estimated()
    assert searches[1:] == [(CLIMB, (192, 192), False, False), (RESTORED, (128, 128), True, True)]
    assert float(found.kernel.std()) < 1e-6 and found.box[2:] == (192, 192)
    rng, step = generator(1, "rng"), KernelStep(widths=(4, 4, 4))
    estimate_by_edges(observed(low, 2, "reflect", 0.0), tiny(), net=net, step=step, rng=rng, log=silent)
    assert searches[-1] == (RESTORED, (128, 128), True, True)


def test_a_learned_step_returns_the_kernels_of_the_networks_rounds() -> None:
    low, met = degrade(blocks(64, 48), shake(), 2, border="circular"), list[tuple[torch.Tensor, int]]()

    def restore(low: torch.Tensor, kernel: torch.Tensor, scale: int, noise: float) -> torch.Tensor:
        met.append((kernel, scale))
        return functional.interpolate(low, scale_factor=scale)

    def step(normal: taps.Equations, before: torch.Tensor, scale: int, noise: float) -> torch.Tensor:
        assert len(normal[1]) == SIZE**2 and noise == 0
        return shake()

    seen, settings = (
        observed(low, 2, "circular", 0.0),
        FreeFormSettings(edges=(4e-3,), rounds=(1, 1), noises=(0.1,) * 3, learned=3),
    )
    found = find_free_form_kernel(seen, SIZE, settings, rng=generator(1, "rng"), restore=restore, step=step)
    assert [scale for _, scale in met] == [2] * 3 and not torch.equal(met[0][0], met[1][0])
    torch.testing.assert_close(met[1][0], kernels.centred(shake()))
    assert alike(found, shake()) > 0.99


def test_a_learned_step_does_not_prefer_a_direction() -> None:
    net, rng = KernelStep(widths=(4, 4, 4)), generator(3, "square")
    redraw(net, generator(1, "net"))
    square, before = torch.rand(1, 1, 24, 24, generator=rng), shake()
    with torch.no_grad():
        ways = [lambda each: each, lambda each: each.flip(-1), lambda each: each.transpose(-2, -1)]
        found = [way(learned_taps(net, _equations(way(square), way(before)), way(before), 1, 0.0)) for way in ways]
    torch.testing.assert_close(found[1], found[0], atol=1e-4, rtol=0)
    torch.testing.assert_close(found[2], found[0], atol=1e-4, rtol=0)


def _equations(high: torch.Tensor, kernel: torch.Tensor) -> taps.Equations:
    return taps.equations(high, degrade(high, kernel, 1, border="circular"), scale=1, size=SIZE)


def test_same_seed_same_kernel() -> None:
    low = degrade(blocks(48, 40), shake(), 2, border="circular")
    assert torch.equal(find(low, scale=2), find(low, scale=2))


def test_network_takes_the_last_rounds_and_every_beginning_is_judged() -> None:
    low = degrade(blocks(64, 48), shake(), 2, border="circular")
    calls: list[tuple[int, ...]] = []

    def restore(low: torch.Tensor, kernel: torch.Tensor, scale: int, noise: float) -> torch.Tensor:
        calls.append(tuple(kernel.shape))
        seen = PeriodicObservation(low, kernel, scale)
        return seen.data_step(functional.interpolate(low, scale_factor=scale), torch.full((1, 1, 1, 1), 0.01))

    figures: list[float] = []
    find(low, scale=2, restore=restore, start=shake(), log=lambda step, values: figures.append(values["sparsity"]))
    assert len(figures) == 2 and calls == [(1, SIZE, SIZE)] * 4


def test_network_assumes_the_noise_of_its_round_at_least() -> None:
    low, assumed = degrade(blocks(64, 48), shake(), 2, border="circular"), list[float]()

    def restore(low: torch.Tensor, kernel: torch.Tensor, scale: int, noise: float) -> torch.Tensor:
        assumed.append(noise)
        return functional.interpolate(low, scale_factor=scale)

    settings = FreeFormSettings(edges=(), rounds=(1, 0), noises=(0.04, 0.01))
    seen = observed(low, 2, "circular", 0.02)
    find_free_form_kernel(seen, SIZE, settings, rng=generator(1, "rng"), start=shake(), restore=restore)
    assert assumed == [0.04, 0.02]  # one beginning alone is not judged


@pytest.mark.parametrize("worth", [0, 1, 2])
def test_a_kernel_that_is_not_promising_midway_is_the_result(worth: int) -> None:
    low, restored = degrade(blocks(64, 48), shake(), 2, border="circular"), list[torch.Tensor]()
    asked: list[torch.Tensor] = []

    def restore(low: torch.Tensor, kernel: torch.Tensor, scale: int, noise: float) -> torch.Tensor:
        restored.append(kernel)
        return functional.interpolate(low, scale_factor=scale)

    def promising(kernel: torch.Tensor) -> bool:
        asked.append(kernel)
        return len(asked) <= worth

    settings = FreeFormSettings(edges=(), rounds=(1, 0), noises=(0.04,) * 4, proved=(1, 3), promising=promising)
    seen = observed(low, 2, "circular", 0.02)
    rng = generator(1, "rng")
    found = find_free_form_kernel(seen, SIZE, settings, rng=rng, start=shake(), restore=restore)
    assert len(asked) == min(worth + 1, 2) and len(restored) == (1, 3, 4)[worth]
    assert worth == 2 or torch.equal(found, asked[-1])


def test_refuses_what_cannot_be() -> None:
    with pytest.raises(FoundryError, match="odd"):
        find_free_form_kernel(observed(torch.rand(1, 3, 32, 32), 2, "circular", 0.0), 8, rng=generator(1, "a"))
    with pytest.raises(FoundryError, match="too small for a kernel of 31 taps"):
        find_free_form_kernel(observed(torch.rand(1, 3, 20, 40), 1, "circular", 0.0), 31, rng=generator(1, "a"))


@pytest.mark.parametrize(
    ("side", "scale", "size"), [(16, 1, 15), (32, 1, 31), (17, 1, 17), (31, 1, 31), (45, 1, 15), (24, 2, 15)]
)
def test_photographs_too_small_for_their_unused_rim_are_refused(side: int, scale: int, size: int) -> None:
    """With one pixel a side more than the last two, a kernel is found, whatever it is worth."""
    low = torch.rand(1, 3, side, side, generator=generator(1, "small"))
    least = 3 * math.ceil(size / scale) + 1
    with pytest.raises(FoundryError, match=f"too small for a kernel of {size} taps .* give {least} pixels a side"):
        find_free_form_kernel(observed(low, scale, noise=0.0), size, rng=generator(1, "a"))
    if side == least - 1:
        larger = torch.rand(1, 3, least, least, generator=generator(1, "enough"))
        few = FreeFormSettings(edges=(4e-3,), rounds=(1, 1))
        found = find_free_form_kernel(observed(larger, scale, noise=0.0), size, few, rng=generator(1, "a"))
        assert float(found.sum()) == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize("border", ["circular", "reflect"])
def test_an_image_of_one_colour_is_refused(border: conventions.Border) -> None:
    flat = torch.full((1, 3, 48, 48), 0.3) * torch.tensor([1.0, 0.5, 0.2]).view(1, 3, 1, 1)
    with pytest.raises(FoundryError, match="single colour has no edges"):
        find(flat, scale=2, border=border)
    with pytest.raises(FoundryError, match="no edges"):
        taps.solve(taps.equations(flat, flat, scale=1, size=SIZE), ridge=1e-3, smooth=0.0)


def test_pruning_keeps_the_heaviest_of_small_islands() -> None:
    many = torch.zeros(1, 13, 13)
    many[0, ::2, ::2] = 1.0
    many[0, 4, 6] = 1.5
    kept = taps.pruned(kernels.normalise(many), faint=0.05, minor=0.05)
    assert float(kept.sum()) == pytest.approx(1) and float(kept[0, 4, 6]) == pytest.approx(1)


def test_a_figure_that_is_no_number_is_never_the_best(monkeypatch: pytest.MonkeyPatch) -> None:
    low = degrade(blocks(48, 40), shake(), 2, border="circular")
    figures = iter([math.nan, 0.5])
    monkeypatch.setattr(freeform.Search, "sparsity", lambda self, image: next(figures))
    found = find(low, scale=2, start=shake())
    monkeypatch.undo()
    alone = find_free_form_kernel(
        observed(low, 2, "circular", 0.0),
        SIZE,
        FreeFormSettings(edges=(), rounds=(4, 5), noises=(0.0,)),
        rng=generator(1, "rng"),
        start=shake(),
    )
    assert torch.equal(found, alone)
    monkeypatch.setattr(freeform.Search, "sparsity", lambda self, image: math.nan)
    with pytest.raises(Diverged, match="no beginning"):
        find(low, scale=2)
