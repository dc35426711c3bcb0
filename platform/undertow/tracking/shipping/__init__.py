"""Shipping: send a run's outbox to MLflow while the run continues.

`process` starts the shipper and `shipper` is that process. `delivery` sends one outbox in batches (`batch`) and records
its position (`cursor`). `sync` does the same in the foreground. `wait` is how other processes wait for the shipper.
"""
