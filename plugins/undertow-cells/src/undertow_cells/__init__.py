"""Undertow's own cells. `hooks` registers them; each other module is one cell."""
