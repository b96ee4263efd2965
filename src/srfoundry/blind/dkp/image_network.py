"""The image that is learned: x = G_x(z_x), an untrained network, and its steps with the kernel held (IR)."""

import math

import torch
from jaxtyping import Float
from torch import Tensor

from srfoundry.blind.dkp.cuda_graph import Replay
from srfoundry.blind.dkp.losses import Data, hyper_laplacian
from srfoundry.blind.estimate import Losses
from srfoundry.blind.settings import ImageFit
from srfoundry.networks.nonblind.dip_unet import Skip, draw

FADING = 5.0  # R(x) under `fade` has this weight per squared residual, in units of its plain weight (MLMC's 5e-3)


class LearnedImage:
    """G_x with its code and optimiser. Its steps wait for the device nowhere.

    Args:
        low: the low-resolution image, or its window, that G_x explains.
        scale: of the enlargement.
        data: the data term of a kernel and an image.
        settings: of the network and its steps.
        rng: a CPU generator; draws the weights, and then the code.
    """

    def __init__(
        self, low: Float[Tensor, "1 3 h w"], scale: int, data: Data, settings: ImageFit, *, rng: torch.Generator
    ) -> None:
        width = settings.width
        # The deepest level needs two pixels a side at least: a small image has fewer levels.
        levels = min(settings.levels, int(math.log2(scale * min(low.shape[-2:]) - 1)))
        net = draw(lambda: Skip(width=width, skip=max(1, width // 8), levels=levels), rng=rng, device=low.device)
        # pyright knows no overload with a memory format alone
        self.net = net.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]
        code = 0.1 * torch.rand(1, 3, *(scale * extent for extent in low.shape[-2:]), generator=rng)
        self.code = code.to(low.device, memory_format=torch.channels_last)
        graph = settings.capture == "graph" and low.is_cuda
        self.optimiser = torch.optim.Adam(self.net.parameters(), lr=settings.image_rate, capturable=graph)
        self.data, self.settings, self.low_values = data, settings, low.numel()
        self.run = torch.compile(self.net) if settings.capture == "compile" else self.net
        self.kernel: Tensor | None = None
        self.residual = low.new_ones(())
        self.replay = Replay(self._step, graph=graph)

    def __call__(self) -> Float[Tensor, "1 3 H W"]:
        """The image so far."""
        with torch.no_grad():
            return self._made()

    def improve(self, kernel: Float[Tensor, "1 k k"], steps: int, residual: Tensor | None = None) -> Losses:
        """Steps on data + R(x), the kernel held; `residual` is the mean squared error so far, for `fade`."""
        if self.kernel is None:
            self.kernel = torch.empty_like(kernel)
        self.kernel.copy_(kernel)  # in place, and so are all that a captured step reads
        if residual is not None:
            self.residual.copy_(residual)
        loss = kernel.new_zeros(())
        for _ in range(steps):
            loss = self.replay()
        return {"image": loss}

    def _made(self) -> Tensor:
        if not self.settings.bfloat16:
            return self.run(self.code)
        with torch.autocast(self.code.device.type, dtype=torch.bfloat16):  # losses stay float32: 1e-8 inside R(x)
            made = self.run(self.code)
        return made.float()

    def _step(self) -> Tensor:
        assert self.kernel is not None
        self.optimiser.zero_grad()
        image = self._made()
        loss = self.data(self.kernel, image)
        natural = hyper_laplacian(image, self.low_values)
        loss = loss + (FADING * self.residual * natural if self.settings.fade else natural)
        loss.backward()
        self.optimiser.step()
        return loss.detach()
