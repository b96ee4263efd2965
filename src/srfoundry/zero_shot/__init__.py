"""Zero-shot super-resolution (MZSR): meta-training, and adaptation to one image."""
