"""The machine: file locks, atomic writes, database connections, signals, standard output, the garbage collector."""
