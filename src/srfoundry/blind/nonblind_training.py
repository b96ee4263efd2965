"""Training of a non-blind network (USRNet): photographs, random kernels and noise in, the photographs back."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from srfoundry.blind.nonblind_pairs import PairDraw, Pairs, draw_kernels
from srfoundry.blind.nonblind_restoration import trained_size
from srfoundry.core.compute import Compute
from srfoundry.core.process_group import Processes
from srfoundry.core.seeds import Stream
from srfoundry.core.state import Resumption
from srfoundry.degradation import kernels, operator
from srfoundry.imaging import images, metrics
from srfoundry.imaging.patches import Patches, crop_to_multiple
from srfoundry.networks.nonblind.usrnet import USRNet
from srfoundry.training.loop import fit
from srfoundry.training.optimiser import Optimisation
from srfoundry.training.prefetch import fed
from srfoundry.training.schedules import restarted
from srfoundry.training.settings import Descent


def train_usrnet(
    net: USRNet,
    pairs: PairDraw,
    descent: Descent,
    *,
    scales: Sequence[int],
    motion: float,
    compute: Compute,
    stream: Stream,
    resumption: Resumption,
) -> list[dict[str, float]]:
    """Train with L1 (Adam, warm-up, cosine to zero), the scales in turns; `net` ends with its averaged weights.

    Args:
        motion: share of the kernels that are motion blurs.

    Returns:
        the curve: the loss `total` at steps of the training.
    """
    parts = compute.parts(pairs.count)
    optimisation = Optimisation(net, nn.Module(), descent, processes=compute.processes)

    def draw(index: int, part: Processes) -> Pairs:
        rng, scale = stream.rng(index), scales[index % len(scales)]
        blur = draw_kernels(pairs.count, scale=scale, motion=motion, rng=rng)
        return pairs.draw(blur, scale, rng=rng, processes=part).sent(compute.device)

    batch = fed(lambda index: [draw(index, part) for part in parts], compute.device)

    def loss(drawn: Pairs) -> dict[str, Tensor]:
        with compute.autocast(), compute.checkpointed(net):
            restored = net(drawn.low, drawn.kernel, drawn.scale, drawn.noise)
        return {"total": (restored - drawn.high).abs().mean()}

    def step(index: int) -> Mapping[str, Tensor | float]:
        terms = ((loss(drawn), part.share(pairs.count)) for drawn, part in zip(batch(index), parts, strict=True))
        rate = restarted(index, descent.steps, descent.learning_rate, warmup=descent.warmup)
        return optimisation.update_in_parts(terms, rate)

    history = fit(step, steps=descent.steps, state=optimisation.state, resumption=resumption, title=stream.name)
    optimisation.finish()
    return history


def validate_usrnet(
    net: USRNet, patches: Patches, *, scale: int, device: torch.device, variances: Sequence[float] = (0.5, 2.0)
) -> dict[str, float]:
    """PSNR-Y in dB with the true kernel, and its gain over bicubic enlargement, on the photographs of a set.

    Args:
        variances: of the Gaussian that blurs them, along and across 30 degrees, in multiples of the scale.
    """
    blur = [*(scale * variance for variance in variances), torch.pi / 6]
    along, across, angle = torch.tensor([blur], dtype=torch.float64).T
    kernel = kernels.gaussian(trained_size(scale), along, across, angle).float()

    def restored(name: str) -> tuple[Tensor, Tensor, Tensor]:
        high = crop_to_multiple(patches.image(name), scale)
        low = images.from_uint8(images.to_uint8(operator.degrade(high, kernel, scale, border="circular")))
        return net(low.to(device), kernel.to(device), scale), low, high

    with torch.inference_mode():
        return metrics.gains(map(restored, patches.photographs()), scale)
