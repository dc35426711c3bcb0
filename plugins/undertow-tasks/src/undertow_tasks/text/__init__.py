"""Tasks over text: the user's own, generated, or Python's documentation."""
