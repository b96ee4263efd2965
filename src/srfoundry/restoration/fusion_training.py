"""Training of the network that fuses restorations: on what the product itself makes of degraded photographs.

Kernels that were found by the method `auto` are wrong in its own ways, and so are the images that they lead to; none
of them is made up.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from srfoundry.blind.auto import histories
from srfoundry.blind.decision import Decision
from srfoundry.blind.estimate import Networks, Resources
from srfoundry.blind.nonblind_pairs import SharpPatches, soften
from srfoundry.blind.settings import Estimation
from srfoundry.config.sections import Fusion as Section
from srfoundry.core.compute import Compute
from srfoundry.core.errors import FoundryError
from srfoundry.core.seeds import Stream
from srfoundry.core.state import Resumption
from srfoundry.degradation.observation import Observation, Sampling
from srfoundry.degradation.operator import degrade
from srfoundry.imaging import images, metrics, resize
from srfoundry.imaging.patches import Patches
from srfoundry.networks.nonblind.fusion import Fusion
from srfoundry.restoration.averaged import guarded
from srfoundry.restoration.blind_restoration import Restoration
from srfoundry.restoration.fusion import fused, known_of, light, sure, views
from srfoundry.restoration.kernel_estimation import KernelEstimation
from srfoundry.restoration.restorers.restorer import RestoreOptions, no_ticker
from srfoundry.restoration.restorers.usrnet import UsrnetRestorer
from srfoundry.training.loop import fit
from srfoundry.training.optimiser import Optimisation
from srfoundry.training.schedules import cosine
from srfoundry.training.settings import PatchDraw

SHARES = {  # of the histories of photographs: shakes are what is found wrong
    "reduced": 0.06,
    "area": 0.05,
    "decimated": 0.05,
    "gaussian": 0.13,
    "disc": 0.13,
    "line": 0.10,
    "shake": 0.42,
    "blurred, reduced": 0.06,
}
NOISY, PACKED, QUALITIES = 0.25, 0.1, (70, 95)  # shares of noisy photographs and of JPEG files, and of which quality
RIM = 8  # low-resolution pixels around a photograph that are blurred with it, and cut off
JUDGED = 6  # photographs of a validation, at each scale
FLAT = 1e-5  # mean squared error that a sample has, at least, where a loss is relative to it


class Samples:
    """Views of images that the product restored, and the photographs that they show."""

    def __init__(self) -> None:
        self.rows: list[dict[str, Any]] = []

    def add(self, seen: Float[Tensor, "1 v H W"], high: Float[Tensor, "1 1 H W"], *, noise: float, scale: int) -> None:
        """Add an image, in half precision."""
        error = float((seen[:, :1] - high).square().mean()) + FLAT
        known = known_of(seen, noise=noise, scale=scale)[0]
        self.rows.append({"both": torch.cat([seen, high], dim=1)[0].half(), "known": known, "error": error})

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


class PhotographDraw:
    """Photographs with a history, in 8 bits.

    Args:
        patches: the photographs; those that are smaller than a patch are left out.
        chosen: what params.yaml says of them.

    Raises:
        FoundryError: no photograph is large enough.
    """

    def __init__(self, patches: Patches, chosen: Section) -> None:
        self.chosen, side = chosen, chosen.patch
        large = [entry["name"] for entry in patches.entries if min(entry["height"], entry["width"]) >= side]
        if not large:
            raise FoundryError(
                f"the stage fusion learns from photographs of {side}x{side} pixels or more, got none; give larger "
                "ones, or make fusion.patch smaller"
            )
        self.sharp = SharpPatches(patches.only(large), PatchDraw(patch=side, octave=0.0, batch=1))

    def draw(
        self, scale: int, *, shares: Mapping[str, float] = SHARES, rng: torch.Generator
    ) -> tuple[Float[Tensor, "1 3 h w"], Float[Tensor, "1 3 H W"]]:
        """A low-resolution image, and the photograph that it shows.

        Args:
            scale: of the reduction.
            shares: of the histories.
            rng: on the CPU.
        """
        kernel = histories.draw(1, scale, shares=shares, rng=rng).kernel
        high = self.sharp.draw(rng=rng)
        high = high[..., : high.shape[-2] // scale * scale, : high.shape[-1] // scale * scale]
        if self.chosen.softness:
            high = soften(high, self.chosen.softness, rng=rng)
        low = degrade(high, kernel, scale, border="reflect")
        noisy, level, packed, quality = torch.rand(4, generator=rng).tolist()
        if noisy < NOISY:
            low = low + self.chosen.noise * level * torch.randn(low.shape, generator=rng)
        low = images.from_uint8(images.to_uint8(low))
        if packed < PACKED:
            low = images.jpeg(low, round(QUALITIES[0] + quality * (QUALITIES[1] - QUALITIES[0])))
        rim = RIM * scale
        return low[..., RIM:-RIM, RIM:-RIM], high[..., rim:-rim, rim:-rim]


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
    right kernels look. Thumbnails come last: of these, few but the commonest images, some are taken for blurred.

    Args:
        restorations: for each scale.
        draw: the photographs.
        scales: in turns.

    Raises:
        FoundryError: all were taken for sharp.
    """
    found = Samples()

    def step(index: int) -> Mapping[str, float]:
        rng, scale = stream.rng("photograph", index), scales[index % len(scales)]
        low, high = draw.draw(scale, shares=SHARES if index < draw.chosen.photographs else histories.MADE, rng=rng)
        made = _made(restorations[scale], low, f"{index}")
        if made is None:
            return {}
        found.add(views(*made), light(high), noise=made[1].noise, scale=scale)
        return {"error": found.rows[-1]["error"]}

    title = f"{stream.name} photographs"
    fit(step, steps=draw.chosen.images, state={"samples": found}, resumption=resumption, title=title)
    if not found.rows:
        raise FoundryError(
            f"the stage fusion learns from images that are restored, got none of {draw.chosen.images}; raise "
            "fusion.photographs"
        )
    return found


def _made(shared: Restoration, low: Tensor, name: str) -> tuple[Observation, Decision, Tensor, Tensor] | None:
    """What is known of an image, what would be given out, and the restorer's; None of what is taken for sharp."""
    observation, decision = shared.observe(low, name, no_ticker)
    if decision is None or not decision.restore:
        return None
    restored = shared.restorer.restore(observation, name)
    return observation, decision, guarded(observation, decision, restored).image, restored.image


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
            low, high = draw.draw(scale, rng=stream.rng("validation", scale, index))
            made = _made(shared, low, f"{index}")
            if made is None or made[2] is made[3] or not sure(made[1]):
                continue
            plain = metrics.psnr_y(resize.cubic_at(low, scale, made[1].phase).clamp(0, 1), high, scale)
            for name, image in (("given", made[2]), ("fused", fused(net, *made))):
                gains.setdefault(f"x{scale}_{name}", []).append(metrics.psnr_y(image, high, scale) - plain)
    return {name: sum(every) / len(every) for name, every in gains.items()}
