"""Undertow's own tasks, a folder for each family. `hooks` registers them, and `files` reads the user's own data."""
