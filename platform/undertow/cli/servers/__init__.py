"""Servers that end with the command that starts them."""
