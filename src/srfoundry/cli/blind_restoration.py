"""Photographs whose blur nobody knows, as files: the kernel is estimated, the network adapted, the image restored.

One image uses all cores. Of a folder, each core has an image of its own: an image's steps wait for one another, and so
small convolutions gain little from a second core. A GPU does one image after another. Long, since a command's whole way
from file to file is read in one piece.
"""

import dataclasses
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from srfoundry.blind import estimators
from srfoundry.blind.estimate import BlindObservation, Resources
from srfoundry.blind.trained_networks import load_networks
from srfoundry.cli import restorers
from srfoundry.cli.files import TILE, Job
from srfoundry.config import params
from srfoundry.core import parallel, seeds
from srfoundry.core.compute import Compute
from srfoundry.core.errors import FoundryError
from srfoundry.degradation import back_projection, conventions, kernel_files, operator
from srfoundry.degradation.noise_level import known_noise
from srfoundry.degradation.observation import Observation, Sampling
from srfoundry.imaging import images, resize, tiling, user_image
from srfoundry.imaging import windows as busy
from srfoundry.networks.zoo import cards
from srfoundry.reporting import pictures
from srfoundry.zero_shot.adaptation import Adaptation, adapt
from srfoundry.zero_shot.recipe import Recipe
from srfoundry.zero_shot.restoration import restore_tiled

LOOK = 768  # low-resolution pixels a side that the kernel is estimated from, at most
ADAPT = 384  # and that the network adapts on: its gradients hold every feature map
MODELS = Path("models")  # of the project that one is in
CROPS = 4  # windows that these pixels are dealt into

Ticker = Callable[[str], tiling.Progress]


@dataclass(frozen=True)
class Restoration:
    """What blind restoration found: the image, its kernel, and how well the two explain the input, in dB."""

    restored: Float[Tensor, "1 3 H W"]
    bicubic: Float[Tensor, "1 3 H W"]
    kernel: Float[Tensor, "1 k k"]
    adapted: Adaptation | None
    """How the network adapted, if it is of the kind that does."""
    consistency: float
    """PSNR between the input and the restored image, blurred and decimated again."""
    consistency_open: float
    """The same before back-projection."""
    consistency_bicubic: float
    """The same for the bicubic image."""


@dataclass(frozen=True)
class Settings:
    """How the files of one call are restored."""

    model: Path
    params: Path
    kernel: Path | None = None
    convention: conventions.Name = "mzsr"
    steps: int = 10
    close: int = 0
    decimation: operator.Decimation = "direct"
    device: torch.device = torch.device("cpu")
    scale: int | None = None
    noise: float | None = None


def blind(
    low: Float[Tensor, "1 3 h w"],
    net: nn.Module,
    scale: int,
    *,
    kernel: Float[Tensor, "1 k k"],
    recipe: Recipe,
    decimation: operator.Decimation = "direct",
    close: int = 0,
    crops: int = CROPS,
    tile: int = TILE,
    device: torch.device,
    ticker: Ticker = lambda title: lambda done, total: None,
) -> Restoration:
    """Adapt the net on the image's own reduced copies made with `kernel`, restore, check D(restored) against the input.

    Adaptation sees the busiest windows of a large image, so that time and memory stay bounded; the adapted net then
    runs over tiles. Estimate the kernel of `window(low, LOOK)` before, for the same reason.

    Args:
        close: back-projections at the end, with the linear filter of the kernel.
        crops: windows that adaptation sees of an image wider or higher than `ADAPT`, of as many pixels in all.
        ticker: gives, for the title of a part of the work, what hears of (done, in all).

    Raises:
        FoundryError: the image is too small to adapt on.
    """
    net, kernel = net.to(device), kernel.detach().float().cpu()
    observation = Observation(low, kernel, Sampling(scale, decimation))
    seen = Observation(windows(low, crops).to(device), kernel.to(device), observation.sampling)
    found = adapt(net, seen, recipe, progress=ticker("adapt"))
    image = restore_tiled(net, observation, weights=found.weights, tile=tile, device=device, progress=ticker("restore"))
    return _checked(image, low, kernel, scale, close=close, adapted=found, decimation=decimation)


def told(
    low: Float[Tensor, "1 3 h w"],
    restorer: restorers.Restorer,
    *,
    kernel: Float[Tensor, "1 k k"],
    noise: float,
    decimation: operator.Decimation = "direct",
    close: int = 0,
    ticker: Ticker = lambda title: lambda done, total: None,
) -> Restoration:
    """Restore with what is told of blur and noise and does not adapt; otherwise as `blind`."""
    kernel = kernel.detach().float().cpu()
    image = restorer.run(low, kernel, noise, ticker("restore"))
    return _checked(image, low, kernel, restorer.scale, close=close, adapted=None, decimation=decimation)


def _checked(
    image: Tensor,
    low: Tensor,
    kernel: Tensor,
    scale: int,
    *,
    close: int,
    adapted: Adaptation | None,
    decimation: operator.Decimation,
) -> Restoration:
    """Close the loop: back-project if asked to, and see how well the image explains its input."""
    observation = Observation(low, kernel, Sampling(scale, decimation))
    closed = back_projection.close(image, observation, steps=close, how="linear")
    bicubic = resize.cubic(low, scale).clamp(0, 1)
    explains = [back_projection.consistency(each, observation) for each in (closed, image, bicubic)]
    return Restoration(closed, bicubic, kernel, adapted, *explains)


def restore_files(jobs: Sequence[Job], settings: Settings) -> Iterator[tuple[Job, list[str], FoundryError | None]]:
    """Restore images, one a core (one at a time on a GPU); yields each job with what to say of it, and its error."""
    chosen = params.load(settings.params)  # what is wrong for all images is said once
    scale = _scale(settings, _restorer(settings, chosen, "first"))
    if settings.kernel is None and estimators.find(chosen.estimate.method).trained and settings.decimation == "direct":
        load_networks(MODELS, scale, Compute(settings.device, chosen.shared.precision))
    if settings.kernel is not None:
        kernel_files.read(settings.kernel, settings.convention)
    mapped = parallel.threads(1 if settings.device.type == "cuda" else None)
    yield from mapped(partial(_attempt, settings=settings), jobs, "restore")


def restore_file(job: Job, settings: Settings, ticker: Ticker = lambda title: lambda done, total: None) -> list[str]:
    """Restore one image and write it, its kernel NAME_kernel.npy and a picture NAME_kernel.png; returns what to say.

    Raises:
        FoundryError: a file is missing, damaged or not what it should be, or the image is too small.
    """
    chosen = params.load(settings.params)
    original = user_image.read(job.source)
    user_image.check_target(original, job.target)
    stem = job.target.with_name(f"{job.target.stem}_kernel")
    for written in (stem.with_suffix(".npy"), stem.with_suffix(".png")):
        for read in (job.source, settings.kernel):
            if read is not None and read.resolve() == written.resolve():
                raise FoundryError(
                    f"the result would replace {read}, which it is made from; name another place with --out"
                )
    low, given, name = original.image, settings.kernel is not None, job.source.stem
    restorer = _restorer(settings, chosen, name)
    scale = _scale(settings, restorer)
    if settings.kernel is not None:
        kernel = kernel_files.read(settings.kernel, settings.convention)
    else:
        seen = window(low, LOOK).to(settings.device)
        told_of: dict[str, Any] = {"decimation": settings.decimation, "noise": settings.noise}
        kernel = estimate(seen, scale, chosen, name, progress=ticker("estimate"), **told_of)
    common: dict[str, Any] = {"kernel": kernel, "decimation": settings.decimation, "close": settings.close}
    if restorer is None:
        net, card = cards.load(settings.model)  # one for each image: threads must not share one
        recipe = Recipe.from_card(card.metrics, chosen.metatrain.adaptation.rates).with_steps(settings.steps)
        found = blind(low, net, scale, recipe=recipe, device=settings.device, ticker=ticker, **common)
        how = f"{found.adapted.step} steps" if found.adapted else ""
    else:
        noise = known_noise(low) if settings.noise is None else settings.noise
        found = told(low, restorer, noise=noise, ticker=ticker, **common)
        how = restorer.title + (f", noise {255 * noise:.1f} of 255" if restorer.hears_noise else "")
    user_image.write(images.to_uint8(found.restored), original, job.target)
    kernel_files.save(found.kernel[0], stem.with_suffix(".npy"))
    caption = "given kernel" if given else "estimated kernel"
    shown = {"before: bicubic": found.bicubic, "after: restored": found.restored}
    pictures.blind(stem.with_suffix(".png"), low, shown, found.kernel, caption)
    return [
        f"{job.target}  (x{scale}, {how})",
        f"{stem}.npy  and  {stem}.png",
        *_lines(found),
    ]


def estimate(
    low: Float[Tensor, "1 3 h w"],
    scale: int,
    chosen: params.Params,
    name: str,
    *,
    decimation: operator.Decimation = "direct",
    models: Path = MODELS,
    noise: float | None = None,
    progress: tiling.Progress = lambda done, total: None,
) -> Float[Tensor, "1 k k"]:
    """Estimate the kernel of an image with the values of params.yaml; `name` seeds what is random.

    Args:
        models: folder of the networks that trained methods take.
        noise: standard deviation of the noise; that of the section, or estimated, if not given.
    """
    found = chosen.estimate.settings
    if estimators.find(found.method).trained and decimation != "direct":
        found = dataclasses.replace(found, method="dkp")  # the trained networks know direct decimation alone
    estimator = estimators.find(found.method)
    compute = Compute(low.device, chosen.shared.precision)

    def log(step: int, _: object) -> None:
        progress(step, estimator.iterations(found))

    return estimators.estimate_kernel(
        BlindObservation(low, Sampling(scale, decimation), noise),
        found,
        Resources(load_networks(models, scale, compute) if estimator.trained else None),
        rng=seeds.generator(chosen.shared.seed, "restore", name),
        log=log,
    ).kernel


def windows(low: Float[Tensor, "1 3 h w"], crops: int) -> Float[Tensor, "b 3 p q"]:
    """The windows that adaptation sees: the whole of a small image, up to `crops` busy ones of a large one."""
    if max(low.shape[-2:]) <= ADAPT:
        return low
    boxes = busy.by_edges(low, ADAPT // math.isqrt(crops), crops)
    return torch.cat([busy.crop(low, box) for box in boxes])


def window(low: Float[Tensor, "1 3 h w"], side: int) -> Float[Tensor, "1 3 p q"]:
    """The busiest `side` x `side` pixels of an image, or all of a smaller one."""
    return busy.crop(low, busy.busiest(low, side, energy="edges"))


def _restorer(settings: Settings, chosen: params.Params, name: str) -> restorers.Restorer | None:
    """What is told of blur and noise; None where the model is MZSR's network, which adapts to the image."""
    if settings.model.suffix == ".safetensors" and cards.read_card(settings.model).arch["name"] == "mzsr":
        return None
    common: dict[str, Any] = {"decimation": settings.decimation, "device": settings.device, "name": name}
    return restorers.load(settings.model, chosen, scale=settings.scale, **common)


def _scale(settings: Settings, restorer: restorers.Restorer | None) -> int:
    """The enlargement.

    Raises:
        FoundryError: another one was asked for than the network was trained for.
    """
    if restorer is not None:
        return restorer.scale
    trained = cards.read_card(settings.model).scale
    if settings.scale not in (None, trained):
        raise FoundryError(f"{settings.model} enlarges by {trained}, got --scale {settings.scale}; leave --scale out")
    return trained


def _attempt(job: Job, settings: Settings) -> tuple[Job, list[str], FoundryError | None]:
    try:
        return job, restore_file(job, settings), None
    except FoundryError as error:
        return job, [], error


def _lines(found: Restoration) -> Iterator[str]:
    if found.adapted is not None:
        taken, kept = len(found.adapted.losses) - 1, found.adapted.step
        if found.adapted.diverged:
            yield f"adaptation diverged at step {taken}: fell back to step {kept} (fewer --steps, or another --kernel)"
        elif kept < taken:
            yield f"adaptation stopped at step {kept} of {taken}: there the held-out part of the image fits best"
    if found.consistency != found.consistency_open:
        yield f"back-projection: {found.consistency_open:.2f} dB before, {found.consistency:.2f} dB after"
    yield f"consistency D(restored) = input: {found.consistency:.2f} dB  (bicubic: {found.consistency_bicubic:.2f} dB)"
