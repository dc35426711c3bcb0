"""Tasks over strings with exact rules: regular languages, and strings that are rewritten."""
