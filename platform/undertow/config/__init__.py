"""Configuration: what a file may hold, how it is read, what is wrong with it.

`schema`, `study_schema` and `types` define the keys; `load` reads an experiment and `resolve` validates it against the
plugins; `space` lists the combinations of a study; `source` and `yaml12` read files and keep the line of every value;
`explain` words the error messages.
"""
