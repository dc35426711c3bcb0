"""Oscillators: each step is one of a numerical method for a system of second order, or one with two time scales."""
