"""The commands: one module for each, named after it, and imported only when the command runs."""
