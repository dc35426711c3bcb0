"""Generated tasks of memory: a few steps matter, and must be remembered over many that do not."""
