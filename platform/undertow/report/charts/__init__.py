"""The figures of a report: one module for each kind; `sections` puts them in order."""
