"""Provenance: the code, versions and machine of a run, as tags, and its uncommitted changes, as a diff.

    made_from = provenance({"undertow-cells": "0.1.0"}, seed=3, extra={"undertow.device": "NVIDIA H200"})
    outbox.start(identity, tags=made_from.tags)
    if made_from.diff is not None:
        (folder.path / "uncommitted.diff").write_text(made_from.diff)

The git program is called; without it, or outside a repository, its tags are absent. Torch is not imported: its version
is read from its distribution, and the caller passes facts about devices in `extra`.
"""

import getpass
import os
import platform
import shlex
import socket
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

import undertow
from undertow._system.redact import redacted

_LARGEST_DIFF = 1_000_000
_GIT_SECONDS = 10


@dataclass(frozen=True)
class Provenance:
    """The code, versions and machine of a run.

    Attributes:
        tags: Tags for the run.
        diff: Uncommitted changes and the names of untracked files; None if there are none, or no repository.
    """

    tags: dict[str, str]
    diff: str | None


def provenance(
    plugins: Mapping[str, str], seed: int, extra: Mapping[str, object] | None = None, *, folder: Path | None = None
) -> Provenance:
    """Collect the provenance of a run.

    Args:
        plugins: Version by label of every plugin that is loaded, from `Registry.versions`.
        seed: The run's seed.
        extra: More tags, such as ``{"undertow.cuda": "13.0", "undertow.device": "NVIDIA H200"}``; None values are left
            out.
        folder: A folder in the git repository; the working folder when absent.

    Returns:
        Tags and diff.
    """
    root = folder or Path.cwd()
    tags = {
        "mlflow.user": _user(),
        "mlflow.source.type": "LOCAL",
        "mlflow.source.name": "undertow",
        "undertow.version": undertow.__version__,
        "undertow.python": platform.python_version(),
        "undertow.platform": platform.platform(),
        "undertow.hostname": socket.gethostname(),
        "undertow.cpu_count": str(os.cpu_count() or 1),
        "undertow.command": shlex.join([Path(sys.argv[0]).name, *map(redacted, sys.argv[1:])]),
        "undertow.seed": str(seed),
    }
    if torch := _version("torch"):
        tags["undertow.torch"] = torch
    tags |= {f"undertow.plugin.{label}": version for label, version in sorted(plugins.items())}
    tags |= {name: str(value) for name, value in (extra or {}).items() if value is not None}
    commit = _git(root, "rev-parse", "HEAD")
    if commit is None:
        return Provenance(tags, None)
    tags["mlflow.source.git.commit"] = commit.strip()
    branch = (_git(root, "rev-parse", "--abbrev-ref", "HEAD") or "").strip()
    if branch and branch != "HEAD":
        tags["mlflow.source.git.branch"] = branch
    diff = _diff(root)
    tags["undertow.git.dirty"] = "true" if diff else "false"
    return Provenance(tags, diff)


def _diff(root: Path) -> str | None:
    """The uncommitted changes, in the format of `git apply`, and a list of the untracked files."""
    top = Path((_git(root, "rev-parse", "--show-toplevel") or str(root)).rstrip("\n"))
    changed = _git(top, "diff", "HEAD", "--no-color", "--no-ext-diff") or ""
    untracked = _git(top, "ls-files", "--others", "--exclude-standard") or ""
    if not changed and not untracked:
        return None
    if len(changed) > _LARGEST_DIFF:
        changed = f"{changed[:_LARGEST_DIFF]}\n# cut: the whole diff has {len(changed)} characters\n"
    if untracked:
        names = untracked.splitlines()
        shown = names[:1000] + ([f"and {len(names) - 1000} more"] if len(names) > 1000 else [])
        changed += "# untracked files:\n" + "".join(f"#   {name}\n" for name in shown)
    return changed


def _git(folder: Path, *arguments: str) -> str | None:
    """The output of git; None if there is no git or no repository, or git fails or takes too long."""
    try:
        done = subprocess.run(
            ["git", *arguments],
            cwd=folder,
            capture_output=True,
            timeout=_GIT_SECONDS,
            check=False,
            env={**os.environ, "GIT_OPTIONAL_LOCKS": "0"},  # a read must not block another git command
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.decode("utf-8", "replace") if done.returncode == 0 else None


def _version(distribution: str) -> str | None:
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return None


def _user() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError):
        return "unknown"  # in a container, a user id may have no name
