"""Models outside of the project: exported files run by ONNX Runtime, on NumPy arrays, with nothing heavy beside it."""
