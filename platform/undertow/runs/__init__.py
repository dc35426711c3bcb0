"""One run, from its configuration to its recorded end (`experiment`).

`process` is what each training process executes; `export` writes the trained model.
"""
