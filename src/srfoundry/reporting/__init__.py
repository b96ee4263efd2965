"""Pictures for people; never an input of a stage."""
