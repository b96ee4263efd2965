"""Kernels corrected by the artefacts that a wrong one causes (IKC)."""
