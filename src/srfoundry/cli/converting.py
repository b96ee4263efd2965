"""The command `convert`: a model as a file for another program."""

import argparse
from pathlib import Path

from srfoundry.cli.commands import say
from srfoundry.core.errors import FoundryError
from srfoundry.deployment.foreign.programs import PROGRAMS

CONVERT = """Writes a model as another program takes it, after comparing its numbers with ONNX Runtime's.

chainner   .onnx that chaiNNer and vs-mlrt take: their rules are checked, the file stays as it is
ncnn       .param and .bin for upscayl and realesrgan-ncnn-vulkan; pip install 'srfoundry[ncnn]'
openvino   .xml and .bin; pip install openvino, which reads the .onnx as well
spandrel   a SwinIR under its authors' names, as ComfyUI and chaiNNer (PyTorch) load it; takes .safetensors
triton     a folder of Triton's model repository with its config.pbtxt"""


def convert(options: argparse.Namespace) -> int:
    """Convert, compare, write."""
    from srfoundry.cli.claiming import claim
    from srfoundry.core.atomic import write_bytes

    program = PROGRAMS[options.program]
    model: Path = options.model
    if model.suffix != program.takes:
        where = "exports/" if program.takes == ".onnx" else "models/"
        raise FoundryError(f"--for {options.program} takes a {program.takes} file, got {model}; they stand in {where}")
    folder: Path = options.out or Path("elsewhere") / options.program
    targets = [folder / name for name in program.files(model, _scale(model))]
    claim(targets, [model], existing=options.existing)
    made = program.run(model)
    for target, blob in zip(targets, made.files.values(), strict=True):
        write_bytes(target, blob)
        say(str(target))
    said = made.against if made.difference is None else f"largest difference {made.difference:.1e}: {made.against}"
    say(f"  {said}")
    say(f"  {program.opens}")
    return 0


def _scale(model: Path) -> int:
    if model.suffix == ".onnx":
        from srfoundry.deployment.foreign.conversion import open_session

        return open_session(model).scale
    from srfoundry.networks.zoo import cards

    return cards.read_card(model).scale
