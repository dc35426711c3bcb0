"""Plain networks: a matrix and a nonlinearity, no gates; they differ in how the matrix is constrained."""
