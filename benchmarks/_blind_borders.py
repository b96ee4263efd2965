"""What the rim of a photograph costs a non-blind network, which knows nothing of what lies outside."""

from pathlib import Path

import torch

from benchmarks._blind_cases import eight_bits
from srfoundry.blind.nonblind_restoration import restore_by_usrnet, trained_size
from srfoundry.degradation import kernels
from srfoundry.degradation.observation import Observation, Sampling
from srfoundry.degradation.operator import degrade
from srfoundry.imaging import decoding, images
from srfoundry.networks.nonblind.usrnet import USRNet


def borders(data: Path, restorer: USRNet) -> dict[str, float]:
    """How much worse a photograph's border is than its interior, in dB, where nothing is known of what lies outside.

    Windows of 63x57 low-resolution pixels out of larger images (x8: whole images, mirrored), in colour and grey.
    """
    found: dict[str, float] = {}
    for scale in (2, 4, 8):
        for grey in (False, True):
            worse = []
            for path in decoding.find(data / "test/BSD100")[:20]:
                high = images.read(path)
                high = high.mean(dim=1, keepdim=True).expand(-1, 3, -1, -1) if grey else high
                high = high[..., : high.shape[-2] // scale * scale, : high.shape[-1] // scale * scale]
                widths = torch.tensor([[1.2 * scale], [0.8 * scale], [0.5]], dtype=torch.float64)
                kernel = kernels.gaussian(trained_size(scale), *widths).float()
                low = eight_bits(degrade(high, kernel, scale))
                tall, wide = min(63, low.shape[-2]), min(57, low.shape[-1])
                top, left = (low.shape[-2] - tall) // 2, (low.shape[-1] - wide) // 2
                seen = low[..., top : top + tall, left : left + wide]
                true = high[..., scale * top : scale * (top + tall), scale * left : scale * (left + wide)]
                error = (
                    (restore_by_usrnet(restorer, Observation(seen, kernel, Sampling(scale))) - true)
                    .square()
                    .mean(dim=1)[0]
                )
                inside = torch.zeros_like(error, dtype=torch.bool)
                rim = 4 * scale
                inside[rim:-rim, rim:-rim] = True
                worse.append(10 * torch.log10(error[~inside].mean() / error[inside].mean()))
            found[f"border_x{scale}{'_grey' if grey else ''}_db"] = round(float(torch.stack(worse).mean()), 2)
    return found
