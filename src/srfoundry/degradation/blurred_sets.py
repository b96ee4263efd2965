"""The test sets under one kernel for all photographs, by name: MZSR's g_2.0 and g_ani."""

BLURRED = {"gauss20": (2.0, 2.0, 0.0), "aniso": (4.0, 1.0, -0.5)}  # the Gaussian's variances in px^2, and its angle
