"""How low-resolution images come about, y = (x * k) reduced by s + n, and what undoes it linearly."""
