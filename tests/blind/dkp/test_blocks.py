"""The blocks' options: when to stop without ground truth, the noise-aware image prior, and steps that never wait."""

import pytest
import torch
from pydantic import ValidationError

from srfoundry.blind.dkp import stop
from srfoundry.blind.dkp.cuda_graph import Replay
from srfoundry.blind.dkp.dkp import estimate_by_dkp
from srfoundry.blind.dkp.families import family_of
from srfoundry.blind.dkp.image_network import LearnedImage
from srfoundry.blind.dkp.kernel_network import GatheredSteps, LangevinSteps, LearnedKernel, SampledSteps
from srfoundry.blind.dkp.losses import hyper_laplacian, mirrored_laplacian, ssim_loss
from srfoundry.blind.estimate import as_numbers
from srfoundry.blind.settings import Rule, Stopping
from srfoundry.core.seeds import generator
from srfoundry.degradation.operator import degrade
from tests.blind.dkp.test_dkp import run
from tests.blind_cases import kernel, low, observed, power_law, tiny


def test_variance_stops_where_the_image_settles() -> None:
    """An image that settles until step 12 and then follows noise: the iterate kept is from about there."""
    monitor = stop.Monitor(Stopping(stop="variance", patience=6), window=4)
    rng, tap = generator(1, "watch"), torch.ones(1, 1, 1)
    for step in range(40):
        wobble = 0.5 ** min(step, 12) + 0.02 * max(0, step - 12)
        image = torch.full((1, 3, 8, 8), 0.5) + wobble * torch.randn(1, 3, 8, 8, generator=rng)
        done, _ = monitor.record(step, tap, image, torch.zeros(()))
        if done:
            break
    assert 9 <= monitor.at <= 16 and step == monitor.at + 6  # pyright: ignore[reportPossiblyUnboundVariable]
    assert monitor.kept is not None


def test_held_out_pixels_are_held_out() -> None:
    image = low(kernel(2.0, 2.0, 0.0))[..., :40, :40]
    seen = stop.held_out_mask(image, "held_out", generator(1, "mask"))
    assert seen is not None and 0.01 < float((1 - seen).mean()) < 0.12
    assert stop.held_out_mask(image, "none", generator(1, "mask")) is None
    # What is there does not matter to the loss, and matters to the figure.
    other = torch.where(seen.bool(), image, 1 - image)
    made = 0.9 * image
    assert float(ssim_loss(made * seen, image * seen)) == float(ssim_loss(made * seen, other * seen))
    assert float(stop.held_out_error(made, image, seen)) < 0.5 * float(stop.held_out_error(made, other, seen))
    speck = stop.held_out_mask(torch.zeros(1, 3, 2, 2), "held_out", generator(1, "speck"))
    assert speck is not None and float((1 - speck).sum()) >= 1


@pytest.mark.parametrize("rule", ["variance", "held_out"])
def test_stopping_returns_the_iterate_that_was_kept(rule: Rule) -> None:
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
    net = LearnedImage(image, 2, data, tiny(fade=True).image, rng=generator(1, "fade"))
    net.improve(tap, 1, torch.tensor(0.04))
    loss, same = net.improve(tap, 1, torch.tensor(0.0))["image"], data(tap, net())
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
    settings = tiny(kernel_steps=2, langevin=1e-3)
    net = LearnedImage(seen, 2, data, settings.image, rng=generator(1, "wait"))
    family = family_of(settings.prior, 2)
    learned = LearnedKernel(family, settings.kernel, rng=generator(1, "wait"), device=seen.device)
    langevin, sampled, gathered = LangevinSteps(learned, data), SampledSteps(learned), GatheredSteps(learned)
    target = family.mean().float()

    def refuse(*_: object) -> None:
        raise AssertionError("a tensor was read")

    with monkeypatch.context() as patched:
        for name in ("__float__", "__bool__", "tolist", "cpu", "numpy"):
            patched.setattr(torch.Tensor, name, refuse)
        losses = net.improve(target, 2)
        losses |= langevin.improve(target, net(), 0.5)
        losses |= sampled.improve(target, 0.5) | gathered.improve(data(learned(), net()), 0.5)
    row = as_numbers(losses, 0)
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
    eager, graph = (
        estimate_by_dkp(observed(image), tiny(iterations=4, image_steps=4, capture=way), rng=generator(1, "graph"))
        for way in ("none", "graph")
    )
    torch.testing.assert_close(graph.kernel, eager.kernel, rtol=1e-2, atol=1e-4)


def test_a_graph_without_a_gpu_is_eager() -> None:
    image = low(kernel(2.0, 2.0, 0.0))
    first, other = (run(image, capture=way, iterations=1) for way in ("none", "graph"))
    assert torch.equal(first.kernel, other.kernel)


def test_what_needs_an_image_is_refused_without_one() -> None:
    for change in ({"stop": "variance"}, {"likelihood": "residual"}, {"learned": True}):
        with pytest.raises(ValidationError, match="needs an image"):
            tiny(**change, image_steps=0)


def test_small_images_have_fewer_levels() -> None:
    found = run(low(kernel(2.0, 2.0, 0.0))[..., :9, :11], levels=6, iterations=1)
    assert found.restored is not None and found.restored.shape == (1, 3, 18, 22)
