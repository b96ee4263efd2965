"""The server: photographs in and out over HTTP, by the models of a folder or of a registry's aliases."""
