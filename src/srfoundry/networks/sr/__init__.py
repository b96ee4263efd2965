"""Super-resolution networks with prunable units, and the dual nets beside them."""
