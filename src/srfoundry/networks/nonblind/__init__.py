"""Networks that take a known blur: the restorer, its corrector, the untrained image network."""
