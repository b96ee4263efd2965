"""What happened to an image, weighed by what is seen in it; what to do about it; and whether the result is believed."""
