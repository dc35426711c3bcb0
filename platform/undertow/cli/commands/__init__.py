"""The commands: one module for each; imported only when its command runs."""
