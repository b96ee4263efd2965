"""Models that leave the house: written as ONNX, made plain, proven equal, scored (the package runtime runs them)."""
