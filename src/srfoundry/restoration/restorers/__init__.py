"""Whatever restores an image once its kernel is known: a file for each kind of model, and the table of them."""
