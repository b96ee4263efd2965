"""A diffusion model of the pipeline's own photographs, and kernels and images found with it; beside the graph."""

from typing import TYPE_CHECKING

from pipelines.support.stage import Stage, main

if TYPE_CHECKING:
    from pathlib import Path

    from srfoundry.blind.estimate import Estimate

SETS = ("gauss20", "aniso")  # the test sets whose kernel is to be estimated


def diffuse(stage: Stage) -> None:
    """Train a small unconditional diffusion model, then estimate test images' kernels under it (Diff-DKP)."""
    from functools import partial

    import numpy as np
    import torch

    from srfoundry.blind.diffusion.diff_dkp import estimate_kernel_by_diffusion
    from srfoundry.blind.diffusion.training import train_denoiser, validate_denoiser
    from srfoundry.blind.diffusion.unet import load_denoiser, make_unet, save_unet
    from srfoundry.blind.nonblind_pairs import SharpPatches
    from srfoundry.core.progress import track
    from srfoundry.degradation.observation import Sampling
    from srfoundry.imaging import images
    from srfoundry.imaging.patches import Patches

    chosen, bank = stage.params.diffuse, None
    if stage.params.estimate.prior.family == "bank":  # those of synthesize, a user's among them
        bank = torch.from_numpy(np.load(stage.input("data/synthesize/kernels/bank.npy"), allow_pickle=False))
    rng = stage.stream.rng("net")
    net = make_unet(patch=chosen.draw.patch, widths=chosen.widths, rng=rng, device=stage.device)
    history = train_denoiser(
        net,
        SharpPatches(Patches.open(stage.input("data/synthesize/train")), chosen.draw),
        chosen.descent,
        compute=stage.compute,
        stream=stage.stream,
        resumption=stage.resumption,
    )
    save_unet(stage.output("models/diffuse"), net)
    denoiser = load_denoiser(stage.output("models/diffuse"), device=stage.device)  # as any other model would be
    judges = Patches.open(stage.input("data/synthesize/validation"))
    levels = [0.02, 0.05, 0.1, 0.2]
    scores = validate_denoiser(denoiser, judges, levels=levels, seed=stage.seed, device=stage.device)
    estimate = partial(
        estimate_kernel_by_diffusion,
        sampling=Sampling(stage.scale),
        settings=stage.params.estimate.settings,
        sampler=chosen.sampler,
        denoiser=denoiser,
        bank=bank,
    )
    figures = {}
    for name in SETS:
        found = {
            path: estimate(images.read(path).to(stage.device), rng=stage.stream.rng(name, path.stem))
            for path in track(images.find(stage.input(f"data/synthesize/held_out/{name}")), f"diffuse {name}")
        }
        figures[name] = _judge(stage, name, found)  # only now is the truth read
    stage.curve(history)
    stage.metrics({"denoising_psnr": scores, "parameters": sum(part.numel() for part in net.parameters()), **figures})


def _judge(stage: Stage, name: str, found: "dict[Path, Estimate]") -> dict[str, dict[str, float]]:
    """Kernel and image of each photograph's window against the truth, and pictures of both."""
    from torch.nn.functional import pad

    from srfoundry.degradation import kernel_files
    from srfoundry.imaging import images, metrics
    from srfoundry.reporting import pictures

    true = kernel_files.read(stage.input(f"data/synthesize/kernels/{name}.npy"))
    figures, shown = {}, []
    for path, estimate in found.items():
        top, left, height, width = estimate.box
        low = images.read(path)[..., top : top + height, left : left + width]
        high = images.read(stage.input(f"data/synthesize/held_out/high/{path.name}"))
        rows, columns = (slice(stage.scale * a, stage.scale * (a + b)) for a, b in ((top, height), (left, width)))
        high = high[..., rows, columns]
        assert estimate.restored is not None
        kernel, restored = estimate.kernel.cpu(), estimate.restored.cpu()
        size = max(kernel.shape[-1], true.shape[-1])  # that of the truth is not known either
        kernel, wanted = (pad(each, [(size - each.shape[-1]) // 2] * 4) for each in (kernel, true))
        figures[path.stem] = {
            "kernel_psnr": metrics.kernel_psnr(kernel, wanted),
            "psnr_y": metrics.psnr_y(restored, high, stage.scale),
        }
        shown.append((low, {"diffusion": restored}, high, None))
    pictures.hero(stage.output(f"results/diffuse/{name}.png"), shown)
    kernels = {path.stem: estimate.kernel for path, estimate in found.items()}
    pictures.kernels(stage.output(f"results/diffuse/{name}_kernels.png"), {"true": true, **kernels})
    for picture in (name, f"{name}_kernels"):
        stage.picture(picture, stage.output(f"results/diffuse/{picture}.png"))
    return figures


if __name__ == "__main__":
    main(diffuse)
