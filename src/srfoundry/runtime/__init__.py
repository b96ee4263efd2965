"""Models outside of the house: exported files run by ONNX Runtime, on NumPy arrays, with nothing heavy beside it."""
