"""Random kernel sampling with network-level Langevin steps (DKP, MLMC)."""
