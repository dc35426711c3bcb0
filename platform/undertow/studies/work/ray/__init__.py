"""A study on a Ray cluster: `cluster` has its slots, an `actor` in each starts a driver (`remote`), `drivers` watches.

The package `ray` itself is imported by `connection` and, on the nodes, by `actor`.
"""
