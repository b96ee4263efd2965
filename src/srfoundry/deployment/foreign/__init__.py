"""Files for programs that are not ours, each proven against ONNX Runtime before it is written."""
