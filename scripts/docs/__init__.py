"""What `make docs` runs: figures looked up, pages made from the code, words and numbers checked, the site built."""
