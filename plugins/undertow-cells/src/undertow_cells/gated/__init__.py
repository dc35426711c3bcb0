"""Gated cells: at each step, gates computed from input and state set how much is kept and how much is replaced."""
