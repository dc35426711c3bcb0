"""Undertow's own tasks. `hooks` registers them; each other module is one task, but for `scans`, which two share."""
