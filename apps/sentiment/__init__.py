"""Many-to-one: a text in, a class out, and how the answer came about word by word."""
