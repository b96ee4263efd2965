"""Blind restoration: the kernel of an image whose blur nobody knows, from that image alone."""
