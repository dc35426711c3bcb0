"""Oscillators: a step of a numerical method for a second-order system, or for a system with two time scales."""
