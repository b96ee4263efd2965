"""The blocks' options: when to stop without ground truth, the noise-aware image prior, and steps that never wait."""

import dataclasses

import pytest
import torch
from pydantic import ValidationError

from srfoundry.blind.dkp import dkp, kernel_network, stop
from srfoundry.blind.dkp.cuda_graph import Replay
from srfoundry.blind.dkp.losses import hyper_laplacian, mirrored_laplacian, ssim_loss
from srfoundry.config.params import load
from srfoundry.config.sections import Estimate
from srfoundry.core.seeds import generator
from srfoundry.degradation.operator import degrade
from tests.blind.dkp.test_dkp import TINY, kernel, low, run
from tests.blind.dkp.test_families import power_law
from tests.conftest import REPO


def test_variance_stops_where_the_image_settles() -> None:
    """An image that settles until step 12 and then follows noise: the iterate kept is from about there."""
    watch = stop.Watch("variance", patience=6, window=4)
    rng, tap = generator(1, "watch"), torch.ones(1, 1, 1)
    for step in range(40):
        wobble = 0.5 ** min(step, 12) + 0.02 * max(0, step - 12)
        image = torch.full((1, 3, 8, 8), 0.5) + wobble * torch.randn(1, 3, 8, 8, generator=rng)
        done, _ = watch.hear(step, tap, image, torch.zeros(()))
        if done:
            break
    assert 9 <= watch.at <= 16 and step == watch.at + 6  # pyright: ignore[reportPossiblyUnboundVariable]
    assert watch.kept is not None


def test_held_out_pixels_are_held_out() -> None:
    image = low(kernel(2.0, 2.0, 0.0))[..., :40, :40]
    seen = stop.mask(image, "held_out", generator(1, "mask"))
    assert seen is not None and 0.01 < float((1 - seen).mean()) < 0.12
    assert stop.mask(image, "none", generator(1, "mask")) is None
    # What is there does not matter to the loss, and matters to the figure.
    other = torch.where(seen.bool(), image, 1 - image)
    made = 0.9 * image
    assert float(ssim_loss(made * seen, image * seen)) == float(ssim_loss(made * seen, other * seen))
    assert float(stop.held_error(made, image, seen)) < 0.5 * float(stop.held_error(made, other, seen))
    speck = stop.mask(torch.zeros(1, 3, 2, 2), "held_out", generator(1, "speck"))
    assert speck is not None and float((1 - speck).sum()) >= 1


@pytest.mark.parametrize("rule", ["variance", "held_out"])
def test_stopping_returns_the_iterate_that_was_kept(rule: stop.Rule) -> None:
    image = low(kernel(2.0, 2.0, 0.0))
    found = run(image, stop=rule, patience=2, iterations=12, image_steps=2, kernel_steps=1, draws=8)
    figures = [row["stop"] for row in found.history]
    known = [figure for figure in figures if figure == figure]
    best = figures.index(min(known)) + 1
    assert len(found.history) in (12, best + 2) and found.restored is not None
    short = run(image, stop=rule, patience=99, iterations=12, image_steps=2, kernel_steps=1, draws=8)
    assert min(known) >= min(row["stop"] for row in short.history if row["stop"] == row["stop"])


def test_the_image_prior_fades_with_the_residual() -> None:
    image = power_law(24, 1)
    tap = kernel(1.0, 1.0, 0.0)
    data = lambda kernel, made: ssim_loss(degrade(made, kernel, 2), image)  # noqa: E731
    net = kernel_network.ImageNet(image, 2, data, dataclasses.replace(TINY, fade=True), generator(1, "fade"))
    net.improve(tap, 1, torch.tensor(0.04))
    loss, same = net.improve(tap, 1, torch.tensor(0.0))["image"], data(tap, net.image())
    assert float(loss) == pytest.approx(float(same), rel=0.2)  # nothing but the data term, a step apart
    assert float(net.residual) == 0.0


def test_mirrored_prior_counts_the_border_too() -> None:
    image = power_law(16, 1)
    inside, whole = float(hyper_laplacian(image, image.numel())), float(mirrored_laplacian(image, image.numel()))
    assert inside < whole < 1.2 * inside
    flat = torch.full((1, 1, 6, 6), 0.3)
    spike = flat.clone()
    spike[0, 0, 3, 3] = 1.3
    gain = float(mirrored_laplacian(spike, 36) - mirrored_laplacian(flat, 36))
    assert gain == pytest.approx(2e-4 * 8 / 36, rel=1e-2)  # four differences to it and four from it, each of 1


def test_bfloat16_is_of_the_image_network_alone() -> None:
    image = low(kernel(2.0, 2.0, 0.0))
    plain, half = (run(image, bfloat16=on, iterations=2) for on in (False, True))
    assert half.restored is not None and plain.restored is not None and half.restored.dtype == torch.float32
    assert not torch.equal(half.restored, plain.restored)
    assert float((half.restored - plain.restored).abs().mean()) < 0.05
    assert half.kernel.dtype == torch.float32


def test_inner_steps_do_not_wait_for_the_device(monkeypatch: pytest.MonkeyPatch) -> None:
    """No number is read from a tensor in image or kernel steps; once an outer iteration is enough."""
    seen = power_law(24, 1)
    data = lambda kernel, made: ssim_loss(degrade(made, kernel, 2), seen)  # noqa: E731
    settings = dataclasses.replace(TINY, kernel_steps=2, langevin=1e-3)
    net = kernel_network.ImageNet(seen, 2, data, settings, generator(1, "wait"))
    kernel_net = kernel_network.KernelNet(settings.prior(2), settings, generator(1, "wait"), seen.device)
    target = settings.prior(2).mean().float()

    def refuse(*_: object) -> None:
        raise AssertionError("a tensor was read")

    with monkeypatch.context() as patched:
        for name in ("__float__", "__bool__", "tolist", "cpu", "numpy"):
            patched.setattr(torch.Tensor, name, refuse)
        losses = net.improve(target, 2)
        losses |= kernel_net.improve(target, net.image(), data, 0.5)
        losses |= kernel_net.pull(target, 0.5) | kernel_net.fit(data(kernel_net.kernel(), net.image()), 0.5)
    row = kernel_network.numbers(losses, 0)
    assert set(row) == {"image", "prior", "data"} and all(isinstance(value, float) for value in row.values())


def test_replay_without_a_graph_is_the_step_itself() -> None:
    counter = torch.zeros(())
    replay = Replay(lambda: counter.add_(1), graph=False)
    assert [float(replay()) for _ in range(5)] == [1, 2, 3, 4, 5]


@pytest.mark.skipif(not torch.cuda.is_available(), reason="a graph is recorded on a GPU")
def test_replay_takes_one_step_a_call() -> None:
    counter = torch.zeros((), device="cuda")
    replay = Replay(lambda: counter.add_(1), graph=True)
    for _ in range(6):
        replay()
    assert float(counter) == 6


@pytest.mark.skipif(not torch.cuda.is_available(), reason="a graph is recorded on a GPU")
def test_a_graph_gives_what_eager_steps_give() -> None:
    image = low(kernel(2.0, 2.0, 0.0)).cuda()
    settings = dataclasses.replace(TINY, iterations=4, image_steps=4)
    eager, graph = (
        dkp.estimate(image, scale=2, settings=dataclasses.replace(settings, capture=way), rng=generator(1, "graph"))
        for way in ("none", "graph")
    )
    torch.testing.assert_close(graph.kernel, eager.kernel, rtol=1e-2, atol=1e-4)


def test_a_graph_without_a_gpu_is_eager() -> None:
    image = low(kernel(2.0, 2.0, 0.0))
    first, other = (run(image, capture=way, iterations=1) for way in ("none", "graph"))
    assert torch.equal(first.kernel, other.kernel)


def test_params_hold_every_value() -> None:
    section = load(REPO / "params.yaml").estimate.model_dump()
    assert {field.name for field in dataclasses.fields(kernel_network.Settings)} <= set(section)
    assert kernel_network.settings(section).kernel_size == section["kernel_size"]
    for change in ({"stop": "variance"}, {"likelihood": "residual"}, {"learned": True}):
        with pytest.raises(ValidationError, match="needs an image"):
            Estimate.model_validate(section | change | {"image_steps": 0})


@pytest.mark.parametrize(("size", "window"), [((61, 90), 24), ((40, 40), 40), ((33, 70), 64), ((50, 31), 17)])
def test_the_busiest_window_is_that_of_all_sums(size: tuple[int, int], window: int) -> None:
    for seed in range(4):
        image = torch.rand(1, 3, *size, generator=generator(seed, "busy")) ** 4
        height, width = (min(window, extent) for extent in size)
        grey = image.mean(dim=1)[0].double()
        energy = torch.zeros_like(grey)
        energy[:-1] += grey.diff(dim=0) ** 2
        energy[:, :-1] += grey.diff(dim=1) ** 2
        places = [(top, left) for top in range(0, size[0] - height + 1, 4) for left in range(0, size[1] - width + 1, 4)]
        best = max(places, key=lambda at: float(energy[at[0] : at[0] + height, at[1] : at[1] + width].sum()))
        assert kernel_network.busiest(image, window) == (*best, height, width)
    assert kernel_network.busiest(torch.full((1, 3, *size), 0.4), window)[:2] == (0, 0)


def test_small_images_have_fewer_levels() -> None:
    found = run(low(kernel(2.0, 2.0, 0.0))[..., :9, :11], levels=6, iterations=1)
    assert found.restored is not None and found.restored.shape == (1, 3, 18, 22)
