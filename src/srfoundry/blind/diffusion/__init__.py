"""Diffusion models as image prior (DiffPIR, Diff-DKP)."""
