"""Which versions are installed of what can change a byte of a result."""

import platform
from collections.abc import Sequence
from importlib import metadata

# Other packages show, store, check or schedule; what they do is in no file that DVC hashes.
DISTRIBUTIONS = (
    *("numpy", "onnx", "onnx-ir", "onnxruntime", "onnxruntime-gpu", "onnxscript"),
    *("pillow", "safetensors", "scikit-image", "scikit-learn", "scipy", "torch"),
)
BESIDE = ("diffusers",)  # what only stages beside the graph use: to install it makes no other stage stale
EXTRAS = {  # by module: what set-up installs only when it is asked for
    "diffusers": "diffusion",
    "distributed": "cluster",
    "prefect_dask": "cluster",
}


def remedy(error: ModuleNotFoundError) -> str | None:
    """What to do where a module of an extra is not installed; None for any other module."""
    extra = EXTRAS.get(str(error.name).partition(".")[0])
    return extra and f"this needs {error.name}, which is not installed; run: make setup EXTRAS={extra}"


def versions(distributions: Sequence[str] = DISTRIBUTIONS) -> dict[str, str]:
    """Exact versions by name, the builds of torch apart (2.13.0+cpu): they round differently."""
    found = {"python": platform.python_version()}
    for name in distributions:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue  # an extra that is not installed: a stage that needs it says so
    return found
