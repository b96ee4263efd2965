"""Finished models tried on test images."""
