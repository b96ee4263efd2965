"""The family of networks become ONNX files with cards, proven equal to PyTorch; the pruned ones are registered."""

import json

from pipelines.support.stage import Stage, main

ALIASES = {"pruned": "champion", "pruned50": "p50", "pruned70": "p70"}  # which name in the registry each member has


def export(stage: Stage) -> None:
    """Export to ONNX with free height and width, compare with PyTorch, register; an alias never gets worse."""
    from hashlib import md5

    from srfoundry.deployment.export import describe, read_proto, write
    from srfoundry.networks.zoo import cards
    from srfoundry.networks.zoo.family import FAMILY
    from srfoundry.tracking import registry

    chosen = stage.params.export
    scores = json.loads(stage.input("results/evaluate/metrics.json").read_text())["bicubic"]
    data_hash = stage.digests["data/synthesize"].removesuffix(".dir")
    figures = {}
    for name, trained in FAMILY.items():
        net, made = cards.load(stage.input(f"models/{trained}.safetensors"))
        held_out = {"held_out.bicubic": scores[name]}
        card = describe(net, made, chosen.target, name=name, data_hash=data_hash, metrics=held_out)
        path = stage.output(f"exports/{name}.onnx")
        worst = write(net, card, path, chosen.parity)
        figures[name] = {
            "parity_max_abs": worst,
            "bytes": path.stat().st_size,
            "parameters": card.parameters,
            "overlap": card.overlap,
        }
    stage.metrics({"parity_max_abs": max(figure["parity_max_abs"] for figure in figures.values()), **figures})
    if stage.place.trial:  # a trial's models take no alias from the project's
        return
    tags = {"scale": str(stage.scale), "params.hash": stage.params.section_hash("export"), "data.md5": data_hash}
    for name, alias in ALIASES.items():
        path = stage.output(f"exports/{name}.onnx")
        registered = registry.register(
            read_proto(path),
            name=chosen.registered_model,
            md5=md5(path.read_bytes(), usedforsecurity=False).hexdigest(),
            metric=f"x{stage.scale} bicubic.{name}.psnr_y",
            value=scores[name]["psnr_y"],
            tags={**tags, "member": name, "parameters": str(figures[name]["parameters"])},
            run_id=None if stage.run is None else stage.run.id,
            alias=alias,
        )
        if stage.run is not None:  # never into metrics.json: the registry's state is no function of the inputs
            key = "registered" if name == "pruned" else f"registered.{name}"
            stage.run.tag(key, f"version {registered.version}, {registered.alias}")


if __name__ == "__main__":
    main(export)
