"""The report of a run: what is collected from the project's folder, and where the file goes."""
