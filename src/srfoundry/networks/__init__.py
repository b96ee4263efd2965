"""Network architectures, their cards on disk, and the published weights that fit them."""
