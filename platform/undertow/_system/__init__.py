"""The machine, whatever the work: file locks, whole files, database connections, signals, the garbage collector."""
