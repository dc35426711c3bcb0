"""Provenance: the commit, the uncommitted changes and the versions of a run."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

import undertow
from undertow.plugins.registry import Plugin, Registry
from undertow.tracking import Outbox, RunFolder, provenance
from undertow.tracking.records import check_name


def git(folder: Path, *arguments: str) -> str:
    identity = ["-c", "user.name=t", "-c", "user.email=t@example.org", "-c", "commit.gpgsign=false"]
    return subprocess.run(["git", *identity, *arguments], cwd=folder, check=True, capture_output=True, text=True).stdout


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    git(tmp_path, "init", "--quiet", "--initial-branch=main")
    (tmp_path / "model.py").write_text("width = 1\n")
    git(tmp_path, "add", "model.py")
    git(tmp_path, "commit", "--quiet", "-m", "first")
    return tmp_path


def test_a_clean_repository_gives_its_commit_and_no_diff(repository: Path) -> None:
    found = provenance({}, seed=0, folder=repository)
    assert found.tags["mlflow.source.git.commit"] == git(repository, "rev-parse", "HEAD").strip()
    assert found.tags["mlflow.source.git.branch"] == "main"
    assert found.tags["undertow.git.dirty"] == "false"
    assert found.diff is None


def test_a_changed_repository_gives_a_diff_and_the_names_of_untracked_files(repository: Path) -> None:
    (repository / "model.py").write_text("width = 2\n")
    (repository / "new.py").write_text("secret")
    below = repository / "below"
    below.mkdir()
    found = provenance({}, seed=0, folder=below)
    assert found.tags["undertow.git.dirty"] == "true"
    assert found.diff is not None
    assert "-width = 1" in found.diff
    assert "+width = 2" in found.diff
    assert "new.py" in found.diff
    assert "secret" not in found.diff


def test_a_huge_diff_is_cut_and_says_so(repository: Path) -> None:
    (repository / "model.py").write_text("x" * 3_000_000)
    found = provenance({}, seed=0, folder=repository)
    assert found.diff is not None
    assert len(found.diff) < 1_100_000
    assert "# cut: the whole diff has 3000" in found.diff


def test_no_repository_leaves_the_git_tags_out(tmp_path: Path) -> None:
    found = provenance({}, seed=0, folder=tmp_path)
    assert not [name for name in found.tags if "git" in name]
    assert found.diff is None


def test_no_git_is_no_error(repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    found = provenance({}, seed=0, folder=repository)
    assert "mlflow.source.git.commit" not in found.tags


def test_versions_seed_and_facts_of_the_caller_become_tags(tmp_path: Path) -> None:
    found = provenance(
        {"undertow-cells": "0.1.0", "waves": "2"}, 3, {"undertow.device": "cpu", "undertow.cuda": None}, folder=tmp_path
    )
    assert found.tags["undertow.plugin.undertow-cells"] == "0.1.0"
    assert found.tags["undertow.plugin.waves"] == "2"
    assert found.tags["undertow.seed"] == "3"
    assert found.tags["undertow.version"] == undertow.__version__
    assert found.tags["undertow.device"] == "cpu"
    assert found.tags["undertow.torch"]
    assert "undertow.cuda" not in found.tags


def test_tracking_imports_neither_torch_nor_mlflow() -> None:
    code = "import sys, undertow.tracking; print([m for m in ('torch', 'mlflow', 'pydantic') if m in sys.modules])"
    found = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert found.stdout.strip() == "[]"


@pytest.mark.parametrize("name", ["waves+1.py", "waves(1).py", "w@ves.py", "w#v?s %.py", "wellen-über.py", "..py"])
def test_the_tag_of_a_scratch_plugin_is_a_legal_name_whatever_its_path(tmp_path: Path, name: str) -> None:
    path = tmp_path / "a+b (c) @d" / name
    path.parent.mkdir()
    path.write_text("")
    scratch = Plugin(str(path), str(path), "0f3a", "waves", scratch=True)
    installed = Plugin("undertow-cells:cells", "undertow-cells", "0.1.0", "undertow_cells.hooks")
    versions = Registry(plugins=(scratch, installed)).versions()
    tags = provenance(versions, seed=0, folder=tmp_path).tags
    assert all(check_name(tag) for tag in tags)
    assert sorted(tags[tag] for tag in tags if tag.startswith("undertow.plugin.")) == ["0.1.0", "0f3a"]
    folder = RunFolder.create(tmp_path / "runs", "waves", experiment="waves", uri=None, config_yaml="")
    with Outbox(folder.outbox) as outbox:
        outbox.start(folder.identity, tags=tags)
    folder.release()
    assert json.loads(folder.outbox.read_text())["tags"] == tags
