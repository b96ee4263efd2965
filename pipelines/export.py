"""The pruned network becomes an ONNX file with a card, proven equal to PyTorch, and a version in the registry."""

import json

from pipelines.stage import Stage, main


def export(stage: Stage) -> None:
    """Export to ONNX with free height and width, compare with PyTorch, register; champion is never worse."""
    from hashlib import md5

    from srfoundry import checkpoint, registry
    from srfoundry.export import describe, read_proto, write

    chosen = stage.params.export
    scores = json.loads(stage.input("results/evaluate/metrics.json").read_text())["bicubic"]
    data_hash = stage.digests["data/synthesize"].removesuffix(".dir")
    figures = {}
    for name, trained in (("pruned", "prune"), ("dual", "dual")):
        net, made = checkpoint.load(stage.input(f"models/{trained}.safetensors"))
        held_out = {"held_out.bicubic": scores[name]}
        card = describe(
            net, made, name=name, opset=chosen.opset, tile=chosen.tile, data_hash=data_hash, metrics=held_out
        )
        path = stage.output(f"exports/{name}.onnx")
        worst = write(net, card, path, sizes=chosen.sizes, tolerance=chosen.tolerance)
        figures[name] = {
            "parity_max_abs": worst,
            "bytes": path.stat().st_size,
            "parameters": card.parameters,
            "overlap": card.overlap,
        }
    stage.metrics({"parity_max_abs": max(figure["parity_max_abs"] for figure in figures.values()), **figures})
    path = stage.output("exports/pruned.onnx")
    registered = registry.register(
        read_proto(path),
        name=chosen.registered_model,
        md5=md5(path.read_bytes(), usedforsecurity=False).hexdigest(),
        metric=f"x{stage.scale} bicubic.pruned.psnr_y",
        value=scores["pruned"]["psnr_y"],
        tags={"scale": str(stage.scale), "params.hash": stage.params.section_hash("export"), "data.md5": data_hash},
        run_id=None if stage.run is None else stage.run.id,
    )
    if stage.run is not None:  # never into metrics.json: the registry's state is no function of the inputs
        stage.run.tag("registered", f"version {registered.version}, {registered.alias}")


if __name__ == "__main__":
    main(export)
