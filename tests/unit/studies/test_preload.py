"""What trials are forked from has not touched CUDA: a forked process cannot use it otherwise."""

import json
import subprocess
import sys

_IMPORT_ALL = """
import importlib, json, pkgutil, sys, traceback
import torch

calls = []

def noted(name, answer):
    def call(*args, **kwargs):
        calls.append(name + " by " + "".join(traceback.format_stack(limit=4)[:-1]))
        return answer
    return call

torch.cuda.is_available = noted("is_available", False)
torch.cuda.device_count = noted("device_count", 0)
torch.cuda._lazy_init = noted("_lazy_init", None)
for name in json.loads(sys.argv[1]):
    module = importlib.import_module(name)
    for each in pkgutil.walk_packages(getattr(module, "__path__", []), name + "."):
        importlib.import_module(each.name)
print(json.dumps(calls))
"""


def test_imports_of_the_forkserver_do_not_touch_cuda() -> None:
    from undertow.studies.work.executor import _PRELOAD

    modules = [*_PRELOAD, "undertow_cells", "undertow_tasks", "undertow_probes"]
    done = subprocess.run(
        [sys.executable, "-c", _IMPORT_ALL, json.dumps(modules)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout.splitlines()[-1]) == []
