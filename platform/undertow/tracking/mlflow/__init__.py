"""MLflow: the only package that knows its API (`store`), its errors (`errors`) and its private formats.

`views` has the format of saved chart views, `addresses` the URLs of its UI, `lookup` the queries for an experiment.
"""
