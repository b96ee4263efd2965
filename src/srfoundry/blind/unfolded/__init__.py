"""Kernels of any form by unfolded alternation: closed forms, and networks between them."""
