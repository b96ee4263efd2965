"""Networks by name: what each is built from, and the card that stands beside its weights on disk."""
