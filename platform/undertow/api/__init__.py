"""What a plugin author implements: specs (`spec`), base classes (`contract`) and hooks (`hookspecs`).

Plugins import the public names of these modules from `undertow`.
"""
