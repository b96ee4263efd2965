"""The programs by name: a record each, with what is written for it and how it is opened there.

Another program is its own file and a record here. Nothing is imported until something is converted.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from srfoundry.core.addresses import resolve

if TYPE_CHECKING:
    from srfoundry.deployment.foreign.conversion import Converted


@dataclass(frozen=True, kw_only=True)
class Program:
    """A program that is not ours.

    Args:
        takes: ending of the file that is converted.
        names: of the files that are written, below their folder; {model} is the file's own name, {scale} its scale.
        convert: "module:function" from the file to a Converted with files of just these names.
        opens: for people, how the program comes to the files.
    """

    takes: str
    names: Sequence[str]
    convert: str
    opens: str

    def files(self, model: Path, scale: int) -> list[str]:
        """The names that will be written for a model."""
        return [name.format(model=model.stem, scale=scale) for name in self.names]

    def run(self, model: Path) -> "Converted":
        """Convert a model, in memory, and compare.

        Raises:
            FoundryError: it is not a model that the program can take, or its numbers differ.
            ModuleNotFoundError: the converter is not installed.
        """
        return resolve(self.convert)(model)


_HERE = "srfoundry.deployment.foreign"

PROGRAMS: Mapping[str, Program] = {
    "chainner": Program(
        takes=".onnx",
        names=["{model}-x{scale}.onnx"],
        convert=f"{_HERE}.onnx_rules:convert",
        opens="chaiNNer: ONNX, Load Model; VapourSynth: core.ort.Model(clip, path), clip in RGBS",
    ),
    "ncnn": Program(
        takes=".onnx",
        names=["models/{model}-x{scale}.param", "models/{model}-x{scale}.bin"],
        convert=f"{_HERE}.ncnn_files:convert",
        opens="upscayl: Settings, Custom Models, `models`; realesrgan-ncnn-vulkan -m models -n NAME -s SCALE",
    ),
    "openvino": Program(
        takes=".onnx",
        names=["{model}-x{scale}.xml", "{model}-x{scale}.bin"],
        convert=f"{_HERE}.openvino_files:convert",
        opens='openvino.Core().compile_model(path_of_the_xml, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})',
    ),
    "spandrel": Program(
        takes=".safetensors",
        names=["{model}-x{scale}.safetensors"],
        convert=f"{_HERE}.spandrel_file:convert",
        opens="spandrel.ModelLoader().load_from_file(path), and what is built on it: chaiNNer (PyTorch), ComfyUI",
    ),
    "triton": Program(
        takes=".onnx",
        names=["{model}/config.pbtxt", "{model}/1/model.onnx"],
        convert=f"{_HERE}.triton_repository:convert",
        opens="tritonserver --model-repository=FOLDER",
    ),
}
