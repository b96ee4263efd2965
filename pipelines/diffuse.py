"""A diffusion model of the pipeline's own photographs, and kernels and images found with it; beside the graph."""

from pipelines.support.stage import Stage, main
from srfoundry.degradation.blurred_sets import BLURRED

LEVELS = (0.02, 0.05, 0.1, 0.2)  # noise that the model is judged at, standard deviations, image range [0, 1]


def diffuse(stage: Stage) -> None:
    """Train a small unconditional diffusion model, then estimate test images' kernels under it (Diff-DKP)."""
    from functools import partial
    from typing import Any

    import numpy as np
    import torch

    from srfoundry.blind.comparison import compare_with_truth
    from srfoundry.blind.diffusion.diff_dkp import estimate_kernel_by_diffusion
    from srfoundry.blind.diffusion.training import train_denoiser, validate_denoiser
    from srfoundry.blind.diffusion.unet import load_denoiser, make_unet, save_unet
    from srfoundry.blind.estimate import kept_estimate
    from srfoundry.blind.nonblind_pairs import SharpPatches
    from srfoundry.core.progress import track
    from srfoundry.degradation import kernel_files
    from srfoundry.degradation.observation import Sampling
    from srfoundry.imaging import decoding, images
    from srfoundry.imaging.patches import Patches
    from srfoundry.reporting import pictures

    chosen, settings, bank, data = stage.params.diffuse, stage.params.estimate.settings, None, "data/synthesize"
    if settings.prior.family == "bank":  # those of synthesize, a user's among them
        bank = torch.from_numpy(np.load(stage.input(f"{data}/kernels/bank.npy"), allow_pickle=False))
    rng = stage.stream.rng("net")
    net = make_unet(patch=chosen.draw.patch, widths=chosen.widths, rng=rng, device=stage.device)
    sharp = SharpPatches(Patches.open(stage.input(f"{data}/train")), chosen.draw)
    context: dict[str, Any] = {"compute": stage.compute, "stream": stage.stream, "resumption": stage.resumption}
    stage.curve(train_denoiser(net, sharp, chosen.descent, **context))
    save_unet(stage.output("models/diffuse"), net)
    denoiser = load_denoiser(stage.output("models/diffuse"), device=stage.device)  # as any other model would be
    judges = Patches.open(stage.input(f"{data}/validation"))
    scores = validate_denoiser(denoiser, judges, levels=LEVELS, seed=stage.seed, device=stage.device)
    find = partial(
        estimate_kernel_by_diffusion,
        sampling=Sampling(stage.scale),
        settings=settings,
        sampler=chosen.sampler,
        denoiser=denoiser,
        bank=bank,
    )
    figures = {}
    for name in BLURRED:
        found = {}
        for path in track(decoding.find(stage.input(f"{data}/held_out/{name}")), f"diffuse {name}"):
            low, rng = images.read(path).to(stage.device), stage.stream.rng(name, path.stem)
            keep = stage.checkpoint.with_suffix("") / name / f"{path.stem}.pt"  # an image takes minutes
            found[path] = kept_estimate(keep, stage.key, partial(find, low, rng=rng))
        true = kernel_files.read(stage.input(f"{data}/kernels/{name}.npy"))  # only now is the truth read
        compared = {
            path.stem: compare_with_truth(
                each,
                images.read(path),
                images.read(stage.input(f"{data}/held_out/high/{path.name}")),
                true,
                stage.scale,
            )
            for path, each in found.items()
        }
        figures[name] = {
            key: {"kernel_psnr": each.kernel_psnr, "psnr_y": each.psnr_y} for key, each in compared.items()
        }
        shown = [(each.low, {"diffusion": each.restored}, each.high, None) for each in compared.values()]
        pictures.hero(stage.output(f"results/diffuse/{name}.png"), shown)
        kernels = {"true": true, **{path.stem: each.kernel for path, each in found.items()}}
        pictures.kernels(stage.output(f"results/diffuse/{name}_kernels.png"), kernels)
        for picture in (name, f"{name}_kernels"):
            stage.picture(picture, stage.output(f"results/diffuse/{picture}.png"))
    stage.metrics({"denoising_psnr": scores, "parameters": sum(part.numel() for part in net.parameters()), **figures})


if __name__ == "__main__":
    main(diffuse, distributed=True)
