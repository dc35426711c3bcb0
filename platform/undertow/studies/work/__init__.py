"""How trials run: the `driver`, the `executor`, and the trial in a process of its own (`job`); `ray`, on a cluster."""
