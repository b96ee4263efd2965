"""The learned step to kernels of free form, for a restorer that denoises; beside the graph."""

from pipelines.support.stage import Stage, main


def kernel_step(stage: Stage) -> None:
    """Search for kernels of blurred photographs and learn from every round; then search on some that were kept back."""
    from pipelines.support.networks import finish
    from srfoundry.blind.kernel_step.training import CaseDraw, train_kernel_step, validate_kernel_step
    from srfoundry.core.compute import channels_last
    from srfoundry.core.errors import FoundryError
    from srfoundry.imaging.patches import Patches
    from srfoundry.networks.nonblind.kernel_step import KernelStep
    from srfoundry.networks.nonblind.usrnet import USRNet
    from srfoundry.networks.zoo import cards
    from srfoundry.networks.zoo.drawn import drawn

    chosen, file = stage.params.kernel_step, stage.input("models/nonblind.safetensors")
    restorer, card = cards.load(file)
    assert isinstance(restorer, USRNet)
    if restorer.plain:
        raise FoundryError(
            f"{file} does nothing but data steps, got nonblind.steps: 0; kernels are found through a restorer that "
            "denoises: set nonblind.steps, and run 'dvc repro nonblind'"
        )
    restorer = channels_last(restorer.eval(), stage.device)
    arch = {**chosen.arch, "scales": card.metrics.get("scales", [card.scale])}  # the restorer's
    net = drawn(arch, KernelStep, rng=stage.stream.rng("net"), device=stage.device)
    history = train_kernel_step(
        net,
        CaseDraw(Patches.open(stage.input("data/synthesize/train")), chosen.draw),
        chosen.descent,
        restorer=restorer,
        scales=[scale for scale in chosen.scales if scale in net.scales] or net.scales,
        compute=stage.compute,
        stream=stage.stream,
        resumption=stage.resumption,
    )
    judges = CaseDraw(Patches.open(stage.input("data/synthesize/validation")), chosen.draw)
    scores = validate_kernel_step(net.eval(), judges, restorer=restorer, compute=stage.compute, stream=stage.stream)
    finish(stage, net, arch, scores, history)


if __name__ == "__main__":
    main(kernel_step)
