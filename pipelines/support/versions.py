"""Which versions are installed of what can change a byte of a result."""

import platform
from importlib import metadata

# Other packages show, store, check or schedule; what they do is in no file that DVC hashes.
DISTRIBUTIONS = (
    *("diffusers", "numpy", "onnx", "onnx-ir", "onnxruntime", "onnxruntime-gpu", "onnxscript"),
    *("pillow", "safetensors", "scikit-image", "scikit-learn", "scipy", "torch"),
)


def versions() -> dict[str, str]:
    """Exact versions by name, the builds of torch apart (2.13.0+cpu): they round differently."""
    found = {"python": platform.python_version()}
    for name in DISTRIBUTIONS:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue  # an extra that is not installed: a stage that needs it says so
    return found
