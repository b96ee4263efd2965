"""srfoundry: a folder of photographs in, registered and compressed super-resolution models out."""
