"""Undertow's own tasks, a folder for each family. `hooks` registers them, and `files` reads what people bring along."""
