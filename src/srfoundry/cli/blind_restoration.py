"""Photographs of unknown blur, as files: the kernel is estimated, the image restored, and both are checked and written.

One image uses all cores. Of a folder, each core has an image of its own: an image's steps wait for one another, and so
small convolutions gain little from a second core. A GPU does one image after another.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial

import torch
from jaxtyping import Float
from torch import Tensor

from srfoundry.blind import guard
from srfoundry.cli.batch import Outcome, attempt
from srfoundry.cli.kernel_estimation import KernelEstimation
from srfoundry.cli.plan import Job, Plan
from srfoundry.cli.restorers.restorer import RestoreOptions, Restorer, Ticker, no_ticker
from srfoundry.cli.restorers.table import load_restorer
from srfoundry.config import params
from srfoundry.core import parallel
from srfoundry.core.atomic import replacing
from srfoundry.core.compute import is_gpu
from srfoundry.degradation import back_projection, kernel_files
from srfoundry.degradation.noise_level import known_noise
from srfoundry.degradation.observation import Observation, Sampling
from srfoundry.imaging import images, resize, user_image
from srfoundry.reporting import pictures

BESIDE = ("_kernel.npy", "_kernel.png")  # endings of what is written beside a restored image


@dataclass(frozen=True)
class Restoration:
    """What one call of `restore` shares among its images: the model, and the kernel or what estimates it."""

    options: RestoreOptions
    restorer: Restorer
    sampling: Sampling
    kernel: Float[Tensor, "1 k k"] | None
    estimation: KernelEstimation | None

    @classmethod
    def load(cls, options: RestoreOptions) -> "Restoration":
        """Read params.yaml, the model, and the kernel's file or the networks that estimate kernels.

        Raises:
            FoundryError: one of them is missing, damaged or not what it should be.
        """
        chosen = params.load(options.params)
        restorer = load_restorer(options, chosen)
        sampling = Sampling(restorer.scale, options.decimation)
        if options.kernel is not None:
            return cls(options, restorer, sampling, kernel_files.read(options.kernel, options.convention), None)
        estimation = KernelEstimation.load(chosen, sampling, device=options.device)
        return cls(options, restorer, sampling, None, estimation)

    def doubt(self, low: Float[Tensor, "1 3 h w"]) -> guard.Doubt | None:
        """Why the image is better left alone, if it is and the user does not insist."""
        if self.options.force:
            return None
        blind, uses_noise = self.kernel is None, self.restorer.uses_noise
        return guard.doubt(low, self.sampling, noise=self.options.noise, blind=blind, uses_noise=uses_noise)

    def observe(self, low: Float[Tensor, "1 3 h w"], name: str, ticker: Ticker) -> Observation:
        """The image with its kernel and its noise, given or estimated."""
        kernel, noise = self.kernel, self.options.noise
        if self.estimation is not None:
            progress = ticker("estimate")
            kernel = self.estimation.estimate_kernel(low, name, noise=noise, progress=progress)
        assert kernel is not None
        level = 0.0
        if self.restorer.uses_noise:
            level = known_noise(low) if noise is None else noise
        return Observation(low, kernel.detach().float().cpu(), self.sampling, level)


@dataclass(frozen=True)
class Checked:
    """A restored image, and how well it explains its input: PSNR of the input and it, blurred and decimated, in dB.

    Attributes:
        restored: after back-projection.
        bicubic: the input, enlarged without knowledge of the blur.
        consistency, consistency_open, consistency_bicubic: of the image, of the same before back-projection, and of
            the bicubic one.
    """

    restored: Float[Tensor, "1 3 H W"]
    bicubic: Float[Tensor, "1 3 H W"]
    consistency: float
    consistency_open: float
    consistency_bicubic: float

    def lines(self) -> list[str]:
        """The figures in words."""
        said = [
            f"consistency D(restored) = input: {self.consistency:.2f} dB  (bicubic: {self.consistency_bicubic:.2f} dB)"
        ]
        if self.consistency != self.consistency_open:
            said.insert(0, f"back-projection: {self.consistency_open:.2f} dB before, {self.consistency:.2f} dB after")
        return said


def check_consistency(image: Float[Tensor, "1 3 H W"], observation: Observation, *, close: int = 0) -> Checked:
    """Close the loop: project the image back `close` times, and see how well it explains its input, D(SR) = LR."""
    closed = back_projection.close(image, observation, steps=close, how="linear")
    bicubic = resize.cubic(observation.low, observation.scale).clamp(0, 1)
    explains = [back_projection.consistency(each, observation) for each in (closed, image, bicubic)]
    return Checked(closed, bicubic, *explains)


def restore_files(planned: Plan, options: RestoreOptions, ticker: Ticker | None = None) -> Iterator[Outcome[list[str]]]:
    """Restore images, one a core (one at a time on a GPU); yields each job with what to say of it, or its error.

    Args:
        planned: what to read and to write.
        options: of the call.
        ticker: shows how an image gets on where there is one alone.
    """
    shared = Restoration.load(options)  # what is wrong for all images is said once
    one = partial(_attempt, shared=shared, batch=planned.batch, ticker=ticker or no_ticker)
    if not planned.batch:
        yield from map(one, planned.jobs)
        return
    mapped = parallel.threads(1 if is_gpu(options.device) else None)
    yield from mapped(one, planned.jobs, "restore")


def restore_file(job: Job, shared: Restoration, ticker: Ticker = no_ticker) -> list[str]:
    """Restore one image and write it, its kernel NAME_kernel.npy and a picture NAME_kernel.png.

    An image that restoration would make worse (blind.guard) is enlarged plainly, and has no kernel.

    Returns:
        what to say of it, in lines.

    Raises:
        FoundryError: the image is missing, damaged or too small.
    """
    how = shared.options.files
    original = user_image.read(job.source, how)
    user_image.check_target(original, job.target, shared.sampling.scale)
    image = images.from_uint8(torch.from_numpy(original.pixels).unsqueeze(0))
    doubt = shared.doubt(image)
    if doubt is not None:
        left = guard.plain(image, shared.sampling.scale, doubt.phase)
        user_image.write(images.to_uint8(left)[0].cpu().numpy(), original, job.target, how)
        return [
            f"{job.target}  (x{shared.sampling.scale}, plain enlargement)",
            f"{job.source.name} is not restored: {doubt.why}; --force restores it all the same",
        ]
    observation = shared.observe(image, job.source.stem, ticker)
    found = shared.restorer.restore(observation, job.source.stem, ticker)
    checked = check_consistency(found.image, observation, close=shared.options.close)
    assert observation.kernel is not None
    caption = "estimated kernel" if shared.kernel is None else "given kernel"
    shown = {"before: bicubic": checked.bicubic, "after: restored": checked.restored}
    taps, picture = map(job.beside, BESIDE)
    # All or none: a result that is there has its kernel beside it.
    with replacing(taps) as partial_taps, replacing(picture) as partial_picture:
        kernel_files.save(observation.kernel[0], partial_taps)
        pictures.blind(partial_picture, observation.low, shown, observation.kernel, caption)
        user_image.write(images.to_uint8(checked.restored)[0].cpu().numpy(), original, job.target, how)
    return [
        f"{job.target}  (x{observation.scale}, {found.how})",
        f"{taps}  and  {picture}",
        *found.remarks,
        *checked.lines(),
    ]


def _attempt(job: Job, *, shared: Restoration, batch: bool, ticker: Ticker) -> Outcome[list[str]]:
    return attempt(job, lambda one: restore_file(one, shared, ticker), batch=batch)
