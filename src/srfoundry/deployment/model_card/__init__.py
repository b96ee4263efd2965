"""What a model is, for people: what it was measured on, in words, and as a folder to publish."""
