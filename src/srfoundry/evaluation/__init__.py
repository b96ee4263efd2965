"""Every way to restore a test image, and how good each is: the result tables of all models."""
