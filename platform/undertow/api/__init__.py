"""What a plugin author implements: specs (`spec`), base classes (`contract`) and hooks (`hookspecs`).

The public names of these modules are names of `undertow`: plugins import them from there.
"""
