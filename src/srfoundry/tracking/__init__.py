"""MLflow: runs, and the registry with its champion rule."""
