"""The closed loop of dual regression (DRN): its loss, its batches, its training."""
