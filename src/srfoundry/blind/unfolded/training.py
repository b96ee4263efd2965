"""Training of unfolded estimation: photographs blurred in many ways, their sharp gradients and kernels as the goal."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

from srfoundry.blind.nonblind_pairs import SharpPatches, large_photographs, soften
from srfoundry.blind.unfolded import closed_forms
from srfoundry.blind.unfolded.blurs import draw_blurs
from srfoundry.blind.unfolded.rounds import FLOORS, Round, unfolded
from srfoundry.blind.unfolded.settings import WindowSettings
from srfoundry.core.compute import Compute, sent
from srfoundry.core.process_group import ALONE, Processes
from srfoundry.core.seeds import Rows, Stream
from srfoundry.core.state import Resumption
from srfoundry.degradation.operator import degrade
from srfoundry.imaging import images
from srfoundry.imaging.patches import Patches
from srfoundry.networks.nonblind.unfolded import SIZE, Unfolded
from srfoundry.training.loop import fit
from srfoundry.training.optimiser import Optimisation
from srfoundry.training.prefetch import fed
from srfoundry.training.schedules import cosine
from srfoundry.training.settings import Descent, PatchDraw

ROUNDS = 3  # of training's last quarter; one less before
RIM = 8  # low-resolution pixels around a window that are blurred with it, and cut off, as a photograph's are
NOISE = 15 / 255  # largest standard deviation
NOISY, PRESSED = 0.5, 0.12  # shares of windows with noise, and of those that went through a JPEG file
QUALITIES = (60, 95)
KERNEL, RESTORED = 0.5, 0.2  # weights of the taps' error and of the restored image's, of the gradients'
DECIBEL = 10 / math.log(10)
FLAT = 1e-3  # energy of gradients below which windows count little, range [0, 1] squared
MARGIN = 4  # high-resolution pixels at each border of a window whose gradients do not count


@dataclass(frozen=True)
class Windows:
    """Low-resolution windows in grey, and what made them."""

    low: Float[Tensor, "b 1 h w"]
    high: Float[Tensor, "b 1 H W"]
    kernel: Float[Tensor, "b k k"]
    noise: Float[Tensor, " b"]
    scale: int

    def sent(self, device: torch.device) -> "Windows":
        """The same on a device."""
        low, high, kernel, noise = (sent(each, device) for each in (self.low, self.high, self.kernel, self.noise))
        return Windows(low, high, kernel, noise, self.scale)


class WindowDraw:
    """Random windows of photographs, each with a blur of its own.

    Args:
        patches: the photographs; those that are smaller than a window are left out.
        settings: of the windows.
        scales: that are asked for.

    Raises:
        FoundryError: no photograph is large enough.
    """

    def __init__(self, patches: Patches, settings: WindowSettings, *, scales: Sequence[int]) -> None:
        self.batch, self.softness = settings.batch, settings.softness
        self.sharp: dict[int, SharpPatches] = {}
        for scale in sorted(set(scales)):
            wanted, unit = (settings.side(scale) + 2 * RIM) * scale, math.lcm(scale, max(patches.factors))
            side = -(-wanted // unit) * unit  # patches lie on the pixels of every reduction of the photographs
            where = f" at scale {scale}"
            large = large_photographs(patches, side, stage="unfolded", setting="unfolded.look", where=where)
            drawn = PatchDraw(patch=side, octave=settings.octave, batch=settings.batch)
            self.sharp[scale] = SharpPatches(large, drawn)

    def draw(self, scale: int, *, rng: torch.Generator, processes: Processes = ALONE) -> Windows:
        """The windows of one step: this process's rows of them."""
        own = processes.rows(self.batch)
        rows = Rows(self.batch, own)
        kernel = draw_blurs(self.batch, SIZE, scale, rng=rng)[own]
        high = self.sharp[scale].draw(rng=rng, processes=processes).mean(dim=1, keepdim=True)
        if self.softness:
            high = soften(high, self.softness, rng=rng, rows=rows)
        draws = rows.rand(4, rng=rng)
        noise = torch.where(draws[:, 0] < NOISY, NOISE * draws[:, 1].square(), 0.0)
        low = degrade(high, kernel, scale, border="reflect")
        low = low + noise.view(-1, 1, 1, 1) * rows.randn(*low.shape[1:], rng=rng)
        low = images.from_uint8(images.to_uint8(low))
        for row in torch.nonzero(draws[:, 2] < PRESSED).flatten().tolist():
            quality = round(QUALITIES[0] + float(draws[row, 3]) * (QUALITIES[1] - QUALITIES[0]))
            low[row] = images.jpeg(low[row, None].expand(-1, 3, -1, -1), quality).mean(dim=1)
        cut = RIM * scale
        estimated = noise * (0.8 + 0.4 * draws[:, 3])  # what is known of it is estimated, too
        return Windows(low[..., RIM:-RIM, RIM:-RIM], high[..., cut:-cut, cut:-cut], kernel, estimated, scale)


def train_unfolded(
    net: Unfolded,
    windows: WindowDraw,
    descent: Descent,
    *,
    scales: Sequence[int],
    compute: Compute,
    stream: Stream,
    resumption: Resumption,
) -> list[dict[str, float]]:
    """Train all rounds together (Adam, warm-up, cosine to zero); `net` ends with its averaged weights.

    Args:
        scales: in turns.

    Returns:
        the curve: `total`, and of the last round `gradients`, `kernel` (relative squared errors) and `restored`, dB
        below the restoration with the true kernel.
    """
    processes, share = compute.processes, compute.processes.share(windows.batch)
    optimisation = Optimisation(net, nn.Module(), descent, processes=processes)

    def draw(index: int) -> Windows:
        scale = scales[index % len(scales)]
        return windows.draw(scale, rng=stream.rng("unfolded", index), processes=processes).sent(compute.device)

    batch = fed(draw, compute.device)

    def step(index: int) -> Mapping[str, Tensor | float]:
        shown = batch(index)
        rounds = ROUNDS - (4 * index < 3 * descent.steps)
        with compute.autocast():
            found = list(unfolded(net, shown.low, shown.noise, shown.scale, rounds=rounds))
        terms = losses(found, shown)
        rate = cosine(index, descent.steps, descent.learning_rate, warmup=descent.warmup)
        return optimisation.update(terms, rate, share)

    title = f"{stream.name} unfolded"
    history = fit(step, steps=descent.steps, state=optimisation.state, resumption=resumption, title=title)
    optimisation.finish()
    return history


def losses(found: Sequence[Round], shown: Windows) -> dict[str, Tensor]:
    """The loss terms of a batch; `total` is the mean over the rounds, the others are of the last one."""
    best = _restoration_error(shown.kernel, shown)
    total: Tensor | float = 0.0
    terms: dict[str, Tensor] = {}
    for each in found:
        kernel = each.kernel.float()
        taps = (kernel - shown.kernel).square().sum(dim=(-2, -1)) / shown.kernel.square().sum(dim=(-2, -1))
        terms = {
            "gradients": _gradient_error(each.sharp.float(), shown).mean(),
            "kernel": taps.mean(),
            "restored": (DECIBEL * (_restoration_error(kernel, shown).log() - best.log())).mean(),
        }
        total = total + terms["gradients"] + KERNEL * terms["kernel"] + RESTORED * terms["restored"]
    assert isinstance(total, Tensor)
    return {"total": total / len(found), **terms}


def _gradient_error(sharp: Float[Tensor, "b 1 H W"], shown: Windows) -> Float[Tensor, " b"]:
    """Squared error of the gradients over their square, the noise's and that of flat windows."""
    error, whole = torch.zeros_like(shown.noise), shown.noise.square() + FLAT
    for axis in (-2, -1):
        true = shown.high.diff(dim=axis)
        away = sharp.diff(dim=axis) - true
        inner = [each[..., MARGIN:-MARGIN, MARGIN:-MARGIN].square().mean(dim=(1, 2, 3)) for each in (away, true)]
        error, whole = error + inner[0], whole + inner[1]
    return error / whole


def _restoration_error(kernel: Float[Tensor, "b k k"], shown: Windows) -> Float[Tensor, " b"]:
    """Mean square error of the closed-form restoration, at least that of rounding."""
    mean, spread = shown.low.mean(dim=(-2, -1), keepdim=True), shown.low.std(dim=(-2, -1), keepdim=True) + 1e-3
    noise = (shown.noise.square() + FLOORS[0] ** 2).sqrt() / spread.flatten()
    image = closed_forms.wiener((shown.low - mean) / spread, kernel, shown.scale, [noise]) * spread + mean
    cut = min(RIM, shown.low.shape[-1] // 4) * shown.scale  # what the rim saw of the blur is unknown
    return (image - shown.high)[..., cut:-cut, cut:-cut].square().mean(dim=(1, 2, 3)) + 1e-5


@torch.inference_mode()
def validate_unfolded(
    net: Unfolded, windows: WindowDraw, *, stream: Stream, device: torch.device, batches: int = 4
) -> dict[str, float]:
    """The last round's errors (`train_unfolded`) on windows of other photographs, at each scale.

    Returns:
        xS_gradients, xS_kernel and xS_restored for each scale S.
    """
    found: dict[str, float] = {}
    for scale in windows.sharp:
        for index in range(batches):
            shown = windows.draw(scale, rng=stream.rng("validation", scale, index)).sent(device)
            rounds = list(unfolded(net, shown.low, shown.noise, scale, rounds=ROUNDS))
            for name, value in losses(rounds, shown).items():
                if name != "total":
                    found[f"x{scale}_{name}"] = found.get(f"x{scale}_{name}", 0.0) + float(value) / batches
    return found
