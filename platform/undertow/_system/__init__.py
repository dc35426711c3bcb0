"""The machine: file locks, atomic writes, database connections, signals, the garbage collector."""
