"""Kernels of any form from few sharp edges."""
