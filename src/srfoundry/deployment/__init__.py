"""Models that leave the project: written as ONNX, made plain, proven equal, scored (the package runtime runs them)."""
