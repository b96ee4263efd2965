"""The training loop and what it needs: states, optimiser, schedules, precision, prefetching."""
