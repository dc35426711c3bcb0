"""Plain networks: a matrix and a nonlinearity, no gates; they differ in what keeps the matrix from doing harm."""
