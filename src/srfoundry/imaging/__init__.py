"""Images: files in and out, resizing, metrics, tiles."""
