"""Shipping: from the outbox of a run to MLflow, while the run goes on.

`process` starts the shipper, `shipper` is that process, `delivery` sends one outbox in batches (`batch`) and records
how far it is (`cursor`). `sync` does the same in the foreground, `wait` is how others wait for it.
"""
