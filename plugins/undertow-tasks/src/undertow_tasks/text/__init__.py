"""Text: one's own files, or what is on every machine."""
