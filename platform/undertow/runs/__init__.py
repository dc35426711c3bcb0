"""One run, from its configuration to its recorded end (`experiment`).

`process` trains in this process, `ranks` in one process per device; `code` compares the code of a resumed run with that
at its start; `export` writes the trained model.
"""
