"""Beamforming, the solver's second home."""
