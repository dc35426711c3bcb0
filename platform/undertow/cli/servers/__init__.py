"""Servers that end when the command that starts them ends."""
