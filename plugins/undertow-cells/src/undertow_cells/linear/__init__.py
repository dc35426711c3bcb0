"""Linear recurrences: the state is scaled and added to, so all steps of a sequence can be computed at once."""
