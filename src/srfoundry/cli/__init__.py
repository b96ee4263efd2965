"""The program srfoundry."""
