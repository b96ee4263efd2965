"""Blind restoration: the unknown kernel of an image, from that image alone."""
