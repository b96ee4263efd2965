"""The kernel of each blurred test image, estimated from its low-resolution file alone."""

from typing import TYPE_CHECKING

from pipelines.support.stage import Stage, main
from srfoundry.degradation.blurred_sets import BLURRED

if TYPE_CHECKING:
    from torch import Tensor


def estimate(stage: Stage) -> None:
    """Estimate the kernel of each low-resolution test image without ground truth."""
    from dataclasses import replace
    from functools import partial

    import numpy as np
    import torch

    from pipelines.support.fan_out import mapped
    from srfoundry.blind import estimators, jobs
    from srfoundry.blind.dkp.families import family_of
    from srfoundry.core.compute import is_gpu
    from srfoundry.degradation import kernel_files
    from srfoundry.imaging import decoding
    from srfoundry.imaging.metrics import padded_kernel_psnr
    from srfoundry.reporting import pictures

    settings, bank = stage.params.estimate.settings, None
    if estimators.find(settings.method).decides:  # what the test sets have is known: Gaussians
        settings = replace(settings, method="fast")
    if settings.prior.family == "bank":  # the kernels of synthesize, a user's among them
        bank = torch.from_numpy(np.load(stage.input("data/synthesize/kernels/bank.npy"), allow_pickle=False))
    models = stage.input("models/nonblind.safetensors").parent
    work = jobs.Work(settings, stage.scale, stage.stream, stage.key, stage.compute, models, bank)
    spread = mapped(1 if is_gpu(stage.device) else None)  # a GPU does one image after another
    guess = family_of(settings.prior, stage.scale, bank).mean().float()  # of one who does not look at the image
    figures: dict[str, dict[str, dict[str, float]]] = {}
    for name in BLURRED:  # the test sets whose kernels are not known to the estimators
        kept, low = stage.checkpoint.with_suffix("") / name, stage.input(f"data/synthesize/held_out/{name}")
        waiting = [jobs.Job(path, kept / f"{path.stem}.pt", (name, path.stem)) for path in decoding.find(low)]
        estimates = spread(partial(jobs.estimate_kernel_of_file, work=work), waiting, f"estimate {name}")
        found = {}
        for job, (kernel, history) in zip(waiting, estimates, strict=True):
            found[job.image.stem] = kernel
            _write(stage, f"{name}/{job.image.stem}", kernel, history)
        # Only now, with the estimates on disk, is the truth read.
        true = kernel_files.read(stage.input(f"data/synthesize/kernels/{name}.npy"))
        without = padded_kernel_psnr(guess, true)
        qualities = {photograph: padded_kernel_psnr(kernel, true) for photograph, kernel in found.items()}
        figures[name] = {
            photograph: {"kernel_psnr": quality, "prior_mean_psnr": without, "gain": quality - without}
            for photograph, quality in qualities.items()
        }
        picture = stage.output(f"results/estimate/{name}.png")
        pictures.kernels(picture, {"true": true, "prior mean": guess, **found})
        stage.picture(name, picture)
    gains = [row["gain"] for rows in figures.values() for row in rows.values()]
    stage.metrics({"gain_over_prior_mean_db": sum(gains) / len(gains), **figures})


def _write(stage: Stage, item: str, kernel: "Tensor", history: list[dict[str, float]]) -> None:
    """Write one image's kernel to data/estimate, and log how it came about."""
    from srfoundry.core.arrays import write_array

    for row in history:
        values = {f"{item.replace('/', '.')}.{key}": value for key, value in row.items() if key != "step"}
        stage.log(int(row["step"]), values)
    write_array(stage.output(f"data/estimate/{item}.npy"), kernel[0].numpy())


if __name__ == "__main__":
    main(estimate)
