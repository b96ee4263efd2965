"""Networks small enough to adapt to one image."""
