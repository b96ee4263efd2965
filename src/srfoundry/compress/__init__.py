"""Smaller networks at equal quality: which inner widths can go, how far, and the surgery itself."""
