"""MLflow: the only package that knows its API (`store`), its errors (`errors`) and its private formats.

`quiet` has the settings of a process that uses MLflow, `views` writes and reads saved chart views, `addresses` builds
URLs of MLflow's UI, `lookup` queries a store without importing MLflow.
"""
