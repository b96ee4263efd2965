"""Training of the network that fuses restorations: on what the product itself makes of degraded photographs.

Kernels that were found by the method `auto` are wrong in its own ways, and so are the images that they lead to; none
of them is made up.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn

from srfoundry.blind.decision import Decision
from srfoundry.blind.estimate import Networks, Resources
from srfoundry.blind.settings import Estimation
from srfoundry.config.sections import Fusion as Section
from srfoundry.core.compute import Compute
from srfoundry.core.errors import FoundryError
from srfoundry.core.seeds import Stream
from srfoundry.core.state import Resumption
from srfoundry.degradation.observation import Observation, Sampling
from srfoundry.imaging import metrics, resize
from srfoundry.networks.nonblind.fusion import Fusion
from srfoundry.restoration.averaged import guarded
from srfoundry.restoration.blind_restoration import Restoration
from srfoundry.restoration.fusion import fused, known_of, light, sure, views
from srfoundry.restoration.fusion_photographs import PhotographDraw
from srfoundry.restoration.kernel_estimation import KernelEstimation
from srfoundry.restoration.restorers.restorer import RestoreOptions, no_ticker
from srfoundry.restoration.restorers.usrnet import UsrnetRestorer
from srfoundry.training.loop import fit
from srfoundry.training.optimiser import Optimisation
from srfoundry.training.schedules import cosine

JUDGED = 6  # photographs of a validation, at each scale
FLAT = 1e-5  # mean squared error that a sample has, at least, where a loss is relative to it


class Made(NamedTuple):
    """What the product made of an image: the image and its kernel, what was decided, and both images, without fusion.

    Attributes:
        observation: the image and its kernel.
        decision: to restore it.
        given: the image that would be given out.
        restored: the restorer's image with the kernel alone.
    """

    observation: Observation
    decision: Decision
    given: Float[Tensor, "1 3 H W"]
    restored: Float[Tensor, "1 3 H W"]


class Samples:
    """Views of images that the product restored, and the photographs that they show."""

    def __init__(self) -> None:
        self.rows: list[dict[str, Any]] = []

    def add(self, made: Made, high: Float[Tensor, "1 3 H W"]) -> None:
        """Add an image, in half precision."""
        seen, wanted = views(*made), light(high)
        error = float((seen[:, :1] - wanted).square().mean()) + FLAT
        known = known_of(seen, made.decision, made.observation.scale)[0]
        self.rows.append({"both": torch.cat([seen, wanted], dim=1)[0].half(), "known": known, "error": error})

    def draw(self, count: int, side: int, *, rng: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
        """Squares out of some of them: views and photograph `b v+1 s s`; of each image what is known, and its error."""
        chosen = [self.rows[index] for index in torch.randint(len(self.rows), (count,), generator=rng).tolist()]
        least = min(side, *(min(row["both"].shape[-2:]) for row in chosen))
        squares = []
        for row in chosen:
            down, across, *ways = torch.rand(5, generator=rng).tolist()
            height, width = row["both"].shape[-2:]
            top, left = int(down * (height - least + 1)), int(across * (width - least + 1))
            square = row["both"][:, top : top + least, left : left + least].float()
            square = square.flip([axis for axis, way in ((-2, ways[0]), (-1, ways[1])) if way < 0.5])
            squares.append(square.transpose(-2, -1) if ways[2] < 0.5 else square)
        known, error = torch.stack([row["known"] for row in chosen]), torch.tensor([row["error"] for row in chosen])
        return torch.stack(squares), known, error

    def state_dict(self) -> dict[str, Any]:
        """All of them."""
        return {"rows": list(self.rows)}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take up those of an earlier run."""
        self.rows = list(state_dict["rows"])


def restoration(networks: Networks, settings: Estimation, scale: int, *, stream: Stream) -> Restoration:
    """What the product does at a scale with these networks, but for the fusion.

    Args:
        networks: whose restorer restores, too.
        settings: of the estimators.
        scale: of the enlargement.
        stream: of what is random in the estimation.
    """
    sampling, device = Sampling(scale), networks.compute.device
    estimation = KernelEstimation(
        replace(settings, method="auto"), sampling, Resources(replace(networks, fusion=None)), stream, device
    )
    options = RestoreOptions(Path("models/nonblind.safetensors"), Path("params.yaml"))
    return Restoration(options, UsrnetRestorer(scale, networks.restorer), sampling, None, estimation)


def collect_samples(
    restorations: Mapping[int, Restoration],
    draw: PhotographDraw,
    *,
    scales: Sequence[int],
    stream: Stream,
    resumption: Resumption,
) -> Samples:
    """Restore degraded photographs, and keep the views of each; what is taken for sharp gives nothing.

    Those that are surely blurred by a kernel of a family are among them, although nothing is fused there: they show how
    right kernels look. Further photographs are put behind the blur of each and restored with the kernel that was found
    for it: what is wrong with kernels is learned on many photographs in the time of few searches. Thumbnails come last:
    some are taken for blurred, most of them in doubt. Nothing is fused there, but those that are surely blurred are
    few, and the network knows the doubt of each.

    Args:
        restorations: for each scale.
        draw: the photographs.
        scales: in turns.

    Raises:
        FoundryError: all were taken for sharp.
    """
    found, chosen = Samples(), draw.chosen

    def step(index: int) -> Mapping[str, float]:
        scale, thumbnail = scales[index % len(scales)], index >= chosen.photographs
        shared = restorations[scale]
        damage, low, high = draw.draw(scale, thumbnail=thumbnail, rng=stream.rng("photograph", index))
        made = _made(shared, low, f"{index}")
        if made is None or (thumbnail and made.given is made.restored):
            return {}
        found.add(made, high)
        for other in range(0 if thumbnail else chosen.others):
            low, high = draw.another(damage, scale, rng=stream.rng("other", index, other))
            found.add(_made_with(shared, made, low, f"{index}"), high)
        return {"error": found.rows[-1]["error"]}

    title = f"{stream.name} photographs"
    fit(step, steps=chosen.images, state={"samples": found}, resumption=resumption, title=title)
    if not found.rows:
        raise FoundryError(
            f"the stage fusion learns from images that are restored, got none of {chosen.images}; raise "
            "fusion.photographs"
        )
    return found


def _made(shared: Restoration, low: Tensor, name: str) -> Made | None:
    """What the product makes of an image; None of what is taken for sharp."""
    observation, decision = shared.observe(low, name, no_ticker)
    if decision is None or not decision.restore:
        return None
    return _restored(shared, observation, decision, name)


def _made_with(shared: Restoration, found: Made, low: Tensor, name: str) -> Made:
    """What it would make of an image for which it had found the same as for another one."""
    known = replace(shared, kernel=found.observation.kernel, estimation=None)
    return _restored(shared, known.observe(low, name, no_ticker)[0], found.decision, name)


def _restored(shared: Restoration, observation: Observation, decision: Decision, name: str) -> Made:
    restored = shared.restorer.restore(observation, name)
    return Made(observation, decision, guarded(observation, decision, restored).image, restored.image)


def train_fusion(
    net: Fusion, samples: Samples, chosen: Section, *, compute: Compute, stream: Stream, resumption: Resumption
) -> list[dict[str, float]]:
    """Least squares of the luminance, relative to the error of what would be given out (Adam); `net` ends averaged.

    Returns:
        the curve: `total`.
    """
    descent = chosen.descent
    optimisation = Optimisation(net, nn.Module(), descent)

    def step(index: int) -> Mapping[str, Tensor | float]:
        rng = stream.rng("step", index)
        both, known, error = (part.to(compute.device) for part in samples.draw(chosen.batch, chosen.square, rng=rng))
        with compute.autocast():
            made = net(both[:, :-1], known)
        loss = ((made - both[:, -1:]).square().mean(dim=(1, 2, 3)) / error).mean()
        rate = cosine(index, descent.steps, descent.learning_rate, warmup=descent.warmup)
        return optimisation.update({"total": loss}, rate)

    net.train()
    state, title = optimisation.state, f"{stream.name} network"
    history = fit(step, steps=descent.steps, state=state, resumption=resumption, title=title)
    optimisation.finish()
    return history


@torch.inference_mode()
def validate_fusion(
    net: Fusion, restorations: Mapping[int, Restoration], draw: PhotographDraw, *, stream: Stream
) -> dict[str, float]:
    """Gains over cubic interpolation of images as they would be given out, and fused, in dB, on other photographs.

    Returns:
        xS_given and xS_fused for each scale S, means over what is fused; nothing where nothing is.
    """
    gains: dict[str, list[float]] = {}
    for scale, shared in restorations.items():
        for index in range(JUDGED):
            _, low, high = draw.draw(scale, rng=stream.rng("validation", scale, index))
            made = _made(shared, low, f"{index}")
            if made is None or made.given is made.restored or not sure(made.decision):
                continue
            plain = metrics.psnr_y(resize.cubic_at(low, scale, made.decision.phase).clamp(0, 1), high, scale)
            for name, image in (("given", made.given), ("fused", fused(net, *made))):
                gains.setdefault(f"x{scale}_{name}", []).append(metrics.psnr_y(image, high, scale) - plain)
    return {name: sum(every) / len(every) for name, every in gains.items()}
