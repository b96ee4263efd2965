"""The per-instance optimiser (LAGD): a small network trained on one instance while it solves it."""
