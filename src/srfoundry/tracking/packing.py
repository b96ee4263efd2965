"""How a model is packed for MLflow: one folder with the file, a card for people, and a loader that takes images.

The folder has two of MLflow's flavours. `python_function` takes and gives images of any size and form
(`runtime.pyfunc`); the runtime's own code travels along, for a model is used where there is no srfoundry or another.
`onnx` gives the graph to `mlflow.onnx.load_model`. Nothing is pickled.

The signature has no schema of inputs: MLflow's schemas are either tensors of one type or columns, and what takes bytes,
arrays and frames is neither. So MLflow hands everything on, and the model itself refuses what it cannot use.
"""

import base64
import importlib.metadata
import io
import re
import tempfile
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import mlflow
from mlflow import pyfunc
from mlflow.models import Model, ModelSignature
from mlflow.types import ParamSchema, ParamSpec
from mlflow.types.schema import AnyType, ColSpec, Schema
from mlflow.utils.autologging_utils.logging_and_warnings import MlflowEventsAndWarningsBehaviorGlobally
from PIL import Image

from srfoundry.runtime.pyfunc import COLUMN, FORMATS
from srfoundry.tracking import travelling

ONNX_FILE, README = "model.onnx", "README.md"
CONFIG = {"threads": 0, "device": "auto"}  # what mlflow.pyfunc.load_model(..., model_config=) may change
RUNTIME = ("jaxtyping", "numpy", "onnxruntime", "pillow", "tqdm")  # what the runtime imports
NOT_LOGGED = re.compile(r"""[/:.%"']""")  # what a registered model's name may have, and a logged one's may not
EXAMPLE = 16  # pixels a side of the input example


@dataclass(frozen=True)
class Presentation:
    """What a version shows to people.

    Args:
        short: its description.
        readme: its card, in Markdown.
        files: that lie beside the card, by their names: the picture that it shows, and what the model was made with.
    """

    short: str = ""
    readme: str = ""
    files: Mapping[str, bytes] = field(default_factory=dict)


def log(blob: bytes, name: str, run_id: str, shown: Presentation) -> str:
    """Store the model with a run and register it as a new version.

    Args:
        blob: the ONNX file.
        name: of the registered model.
        run_id: of the run that it belongs to.
        shown: what people see of it.

    Returns:
        The version's number.
    """
    mlflow.start_run(run_id=run_id)
    try:
        with warnings.catch_warnings(), _silent():
            warnings.filterwarnings("ignore", message=".*Any type hint is inferred")  # of MLflow's own modules
            info = Model.log(
                artifact_path=None,
                flavor=_Flavour,
                name=NOT_LOGGED.sub("_", name),
                registered_model_name=name,
                blob=blob,
                shown=shown,
                validate_serving_input=False,  # it would load the model here and leave its folder in sys.path
            )
    finally:
        mlflow.end_run()
    return str(info.registered_model_version)


def pack(blob: bytes, folder: Path, shown: Presentation, model: Model | None = None) -> None:
    """Write a model's folder, as MLflow loads it.

    Args:
        blob: the ONNX file.
        folder: new.
        shown: what people see of it.
        model: MLflow's description so far, of a model that is being stored.
    """
    described = model or Model()
    with tempfile.TemporaryDirectory() as scratch:
        file = Path(scratch) / ONNX_FILE
        file.write_bytes(blob)
        package = travelling.write(Path(scratch))
        described.add_flavor(
            "onnx", onnx_version=_installed("onnx") or "", data=f"data/{ONNX_FILE}", providers=["CPUExecutionProvider"]
        )
        pyfunc.save_model(
            path=str(folder),
            loader_module=f"{package}.{travelling.ENTRY}",
            data_path=str(file),
            code_paths=[str(Path(scratch) / package)],
            mlflow_model=described,
            signature=_signature(),
            input_example=_example(),
            pip_requirements=requirements(),
            model_config=CONFIG,
        )
    if shown.readme:
        (folder / README).write_text(shown.readme, encoding="utf-8")
    for name, content in shown.files.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes(content)


def requirements() -> list[str]:
    """What the runtime imports, each pinned to what is installed here, whichever of its packages brought it."""
    found = {name: _installed(name) or _installed(f"{name}-gpu") for name in RUNTIME}
    return [f"{name}=={number}" if number else name for name, number in found.items()]


class _Flavour:
    """What `Model.log` wants of a flavour's module."""

    @staticmethod
    def save_model(path: str, mlflow_model: Model, blob: bytes, shown: Presentation, **_: Any) -> None:
        pack(blob, Path(path), shown, mlflow_model)


def _signature() -> ModelSignature:
    whole = [
        ParamSpec("tile", "integer", 0),
        ParamSpec("overlap", "integer", 0),
        ParamSpec("format", "string", FORMATS[0]),
    ]
    return ModelSignature(None, Schema([ColSpec(AnyType(), COLUMN)]), ParamSchema(whole))


def _example() -> list[str]:
    """A small photograph as a server's clients send one."""
    file = io.BytesIO()
    Image.linear_gradient("L").resize((EXAMPLE, EXAMPLE)).convert("RGB").save(file, "PNG")
    return [base64.b64encode(file.getvalue()).decode("ascii")]


def _silent() -> MlflowEventsAndWarningsBehaviorGlobally:
    """MLflow writes "Created version '1'" past its own log level; whoever registers says where a model stands."""
    return MlflowEventsAndWarningsBehaviorGlobally(
        disable_event_logs=True, disable_warnings=False, reroute_warnings=False
    )


def _installed(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None
