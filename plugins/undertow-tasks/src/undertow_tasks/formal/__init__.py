"""Formal languages: what a finite automaton reads off a string, and a network must find out how to."""
