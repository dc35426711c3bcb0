"""Gated cells: what is kept and what is replaced is decided at each step, from the input and the state."""
