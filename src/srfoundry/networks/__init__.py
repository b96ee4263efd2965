"""The networks, each built by plain keywords and none knowing how it is trained."""
