"""The tables of a report: results, comparisons, and runs by name."""
