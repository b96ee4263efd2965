"""One file that shows a whole run: its graph, figures, curves, pictures and models."""
