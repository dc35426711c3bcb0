"""Undertow's own probes. `hooks` registers them; each other module is one probe."""
