"""Photographs of unknown blur, restored: what finds the kernel, what undoes it, how well it explains the input."""
