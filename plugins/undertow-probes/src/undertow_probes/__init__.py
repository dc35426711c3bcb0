"""The probes that Undertow ships. `hooks` registers them; a module with a `Probe` class is one probe."""
