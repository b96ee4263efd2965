"""Photographs: where they come from, how they are prepared, patches and test sets."""
