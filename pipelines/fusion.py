"""What fuses restorations under kernels that may be wrong, for a restorer that denoises; beside the graph."""

from pipelines.support.stage import Stage, main


def fusion(stage: Stage) -> None:
    """Restore degraded photographs as the product does, learn to fuse them; then restore some that were kept back."""
    from pipelines.support.networks import finish
    from srfoundry.blind.trained_networks import load_networks
    from srfoundry.core.state import silent
    from srfoundry.imaging.patches import Patches
    from srfoundry.networks.nonblind.fusion import Fusion
    from srfoundry.networks.zoo import cards
    from srfoundry.networks.zoo.drawn import drawn
    from srfoundry.restoration.fusion_photographs import PhotographDraw
    from srfoundry.restoration.fusion_training import (
        collect_samples,
        restoration,
        train_fusion,
        validate_fusion,
    )

    chosen = stage.params.fusion
    names = ("nonblind", "corrector", "classifier", "kernel_step")
    file, *_ = (stage.input(f"models/{name}.safetensors") for name in names)
    card = cards.read_card(file)
    scales = card.metrics.get("scales", [card.scale])  # the restorer's
    arch = {**chosen.arch, "scales": scales}
    net = drawn(arch, Fusion, rng=stage.stream.rng("net"), device=stage.device)
    shared = {
        scale: restoration(
            load_networks(file.parent, scale, stage.compute),
            stage.params.estimate.settings,
            scale,
            stream=stage.stream,
        )
        for scale in scales
    }
    samples = collect_samples(
        shared,
        PhotographDraw(Patches.open(stage.input("data/synthesize/train")), chosen),
        scales=[scale for scale in chosen.scales if scale in scales] or scales,
        stream=stage.stream,
        resumption=stage.resumption.beside("samples", silent),
    )
    history = train_fusion(
        net, samples, chosen, compute=stage.compute, stream=stage.stream, resumption=stage.resumption
    )
    judges = PhotographDraw(Patches.open(stage.input("data/synthesize/validation")), chosen)
    scores = validate_fusion(net.eval(), shared, judges, stream=stage.stream)
    finish(stage, net, arch, scores, history)


if __name__ == "__main__":
    main(fusion)
