"""The code that travels with a model: enough to load it, lean, and under a name that hides no other srfoundry."""

import subprocess
import sys
from pathlib import Path

from srfoundry.tracking import travelling


def test_the_package_stands_alone(tmp_path: Path) -> None:
    """Its entry is imported without srfoundry, PyTorch, MLflow or onnx; the name follows from the code."""
    name = travelling.write(tmp_path)
    program = f"""
import sys
sys.path.insert(0, {str(tmp_path)!r})
sys.modules.update(dict.fromkeys(["srfoundry", "torch", "mlflow", "onnx", "pandas"]))  # as if not installed
from {name}.{travelling.ENTRY} import ImageModel, _load_pyfunc
"""
    subprocess.run([sys.executable, "-c", program], check=True, timeout=120)
    assert travelling.write(tmp_path / "again") == name
    texts = [path.read_text() for path in (tmp_path / name).rglob("*.py")]
    assert 8 <= len(texts) <= 30 and not any("import srfoundry" in text or "from srfoundry." in text for text in texts)
