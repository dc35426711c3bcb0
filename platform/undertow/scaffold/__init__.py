"""A new plugin: a small distribution that passes its checks, for its author to change.

    plan = plan_plugin("cell", "leaky-rnn", into=Path())
    plan.write()                    # leaky-rnn/pyproject.toml, leaky-rnn/src/leaky_rnn/hooks.py, …

`templates/` has a folder for each kind, with placeholders such as ``${class_name}`` for what `Names` derives, in the
files' paths too. They end in ``.template``, so that no tool reads them as code.
"""

from undertow.scaffold.names import Names
from undertow.scaffold.plan import Plan, plan_plugin

__all__ = ["Names", "Plan", "plan_plugin"]
