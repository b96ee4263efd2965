"""params.yaml, typed: sections made of the methods' own settings."""
