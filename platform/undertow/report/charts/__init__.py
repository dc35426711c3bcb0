"""The charts of a report: one module for each kind. `sections` lists them in the order of the page."""
