"""Matrix states: each head adds products of a key and a value to a matrix that decays, and a query reads it."""
