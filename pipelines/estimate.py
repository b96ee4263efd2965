"""The kernel of each blurred test image, estimated from its low-resolution file alone."""

from typing import TYPE_CHECKING

from pipelines.stage import Stage, main

if TYPE_CHECKING:
    from pathlib import Path

    from torch import Tensor

SETS = ("gauss20", "aniso")  # the test sets whose kernel nobody is told


def estimate(stage: Stage) -> None:
    """Estimate the kernel of each low-resolution test image without ground truth (DKP)."""
    from srfoundry import banks, images, report
    from srfoundry.blind.dkp import Settings
    from srfoundry.progress import track

    # What one would say without looking at the image.
    guess = Settings(**stage.params.estimate.model_dump()).prior(stage.scale).mean().float()
    figures: dict[str, dict[str, dict[str, float]]] = {name: {} for name in SETS}
    for name in SETS:
        photographs = images.find(stage.input(f"data/synthesize/held_out/{name}"))
        found = {path.stem: _kernel(stage, name, path, guess) for path in track(photographs, f"estimate {name}")}
        # Only now, with the estimates on disk, is the truth read.
        true = banks.read(stage.input(f"data/synthesize/kernels/{name}.npy"))
        for photograph, kernel in found.items():
            quality, without = _quality(kernel, true), _quality(guess, true)
            row = {"kernel_psnr": quality, "prior_mean_psnr": without, "gain": quality - without}
            figures[name][photograph] = row
        picture = stage.output(f"results/estimate/{name}.png")
        report.kernels(picture, {"true": true, "prior mean": guess, **found})
        stage.picture(name, picture)
    gains = [row["gain"] for rows in figures.values() for row in rows.values()]
    stage.metrics({"gain_over_prior_mean_db": sum(gains) / len(gains), **figures})


def _kernel(stage: Stage, name: str, path: "Path", guess: "Tensor") -> "Tensor":
    """One image's kernel, written to data/estimate; kept beside the checkpoint, so that a killed stage goes on."""
    from io import BytesIO

    import numpy as np
    from torch import nn

    from srfoundry import checkpoint, images, seeds
    from srfoundry.blind.dkp import Settings, estimate

    kept = nn.ParameterList([nn.Parameter(guess.clone(), requires_grad=False)])
    finished = stage.checkpoint.with_suffix("") / name / f"{path.stem}.pt"
    done, history = checkpoint.load_state(finished, stage.key, {"kernel": kept})
    if not done:  # an image is short work: one that was cut off starts again
        settings = Settings(**stage.params.estimate.model_dump())
        rng = seeds.generator(stage.seed, stage.name, name, path.stem)
        low = images.read(path).to(stage.device)
        result = estimate(low, scale=stage.scale, settings=settings, rng=rng)
        kept[0].copy_(result.kernel)
        history = result.history
        checkpoint.save_state(finished, stage.key, {"kernel": kept}, len(history), history)
    for row in history:
        values = {f"{name}.{path.stem}.{key}": value for key, value in row.items() if key != "step"}
        stage.log(int(row["step"]), values)
    file = BytesIO()
    np.save(file, kept[0][0].numpy())
    checkpoint.write_bytes(stage.output(f"data/estimate/{name}/{path.stem}.npy"), file.getvalue())
    return kept[0]


def _quality(kernel: "Tensor", true: "Tensor") -> float:
    """Kernel PSNR; the smaller kernel is set into zeros, for the size of the truth is not known either."""
    from torch.nn.functional import pad

    from srfoundry import metrics

    size = max(kernel.shape[-1], true.shape[-1])
    whole = [pad(each, [(size - each.shape[-1]) // 2] * 4) for each in (kernel, true)]
    return metrics.kernel_psnr(*whole)


if __name__ == "__main__":
    main(estimate)
