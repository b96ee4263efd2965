"""Models that leave the house: ONNX, its parity, the session that runs it."""
