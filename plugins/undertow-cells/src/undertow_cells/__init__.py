"""Undertow's own cells. `hooks` registers them; each folder is a family, with one cell per module."""
