"""Plugins: which distributions have some (`discovery`), how they are loaded (`host`), what they offer (`registry`).

`scratch` imports a plugin that is one file, which may import files beside it: `neighbours` says which these are, and
`finder` imports them. `validation` checks a spec before it is registered; `frozen` keeps copies of scratch plugins
and compares versions, so that a run or a study continues with the code that it started with.
"""
