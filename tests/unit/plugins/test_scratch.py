"""Scratch plugins: files that are loaded as modules, and which of them the environment allows."""

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from undertow._system.names import check_name
from undertow.errors import RequestError
from undertow.plugins.host import load_plugins

Install = Callable[..., None]

CELL = """
from undertow import CellSpec, hookimpl

@hookimpl
def undertow_register_cells():
    return [CellSpec(name="NAME", summary="A cell.", factory=":Z", state=("h",))]
"""

MIXED = """
from undertow import CellSpec, hookimpl

@hookimpl
def undertow_register_cells():
    yield CellSpec(name="good", summary="A cell.", factory="x.y:Z", state=("h",))
    yield CellSpec(name="Bad", summary="A cell.", factory="x.y:Z", state=("h",))
    yield CellSpec(name="leaky-rnn", summary="A cell.", factory="x.y:Z", state=("h",))
"""


def cell(name: str) -> str:
    return CELL.replace("NAME", name)


def test_a_scratch_file_is_loaded_as_a_module_of_its_own(install: Install, tmp_path: Path) -> None:
    file = tmp_path / "my-cell.py"
    file.write_text(cell("mine"))
    registry = load_plugins(files=[file, str(file)], allow=[])
    assert registry.cell("mine").factory == "undertow_scratch_my_cell:Z"
    plugin = registry.cells["mine"].plugin
    assert plugin.scratch
    assert plugin.distribution == str(file)
    assert plugin.version.startswith("sha256:")


def test_every_file_name_becomes_a_tag_of_its_own(install: Install, tmp_path: Path) -> None:
    names = ["é.py", "ü.py", "my cell (v2).py", "a+b@c.py", "a-b.py", "x..py"]
    for number, name in enumerate(names):
        (tmp_path / name).write_text(cell(f"cell-{number}"))
    versions = load_plugins(files=[tmp_path / name for name in names]).versions()
    assert len(versions) == len(names)
    for label in versions:
        check_name(f"undertow.plugin.{label}")


def test_a_scratch_file_is_imported_again_only_after_it_changed(install: Install, tmp_path: Path) -> None:
    file = tmp_path / "changing.py"
    file.write_text(cell("mine"))
    load_plugins(files=[file])
    first = sys.modules["undertow_scratch_changing"]
    load_plugins(files=[file])
    assert sys.modules["undertow_scratch_changing"] is first
    file.write_text(cell("other"))
    assert list(load_plugins(files=[file]).cells) == ["other"]


def test_a_scratch_file_that_cannot_be_read_or_imported_is_refused_at_its_line(
    install: Install, tmp_path: Path
) -> None:
    file = tmp_path / "mine.py"
    with pytest.raises(RequestError, match=r"mine\.py: the scratch plugin cannot be read: No such file"):
        load_plugins(files=[file])
    file.write_text("import json\n\njson.loads('{')\n")
    with pytest.raises(RequestError, match=r"JSONDecodeError.*mine\.py:3\)"):
        load_plugins(files=[file])
    assert "undertow_scratch_mine" not in sys.modules
    text = tmp_path / "mine.txt"
    text.write_text("")
    with pytest.raises(RequestError, match=r"ends in \.py"):
        load_plugins(files=[text])


def test_a_bad_spec_of_a_scratch_file_is_reported_and_the_others_are_loaded(
    install: Install, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    install("leaky", cell("leaky-rnn"))
    file = tmp_path / "mine.py"
    file.write_text(MIXED)
    registry = load_plugins(files=[file])
    assert set(registry.cells) == {"leaky-rnn", "good"}
    assert [failure.stage for failure in registry.failures] == ["spec", "duplicate"]
    out, err = capsys.readouterr()
    assert out == ""
    assert err.splitlines() == [f"warning: {failure}" for failure in registry.failures]
    assert "mine.py" in err
    with pytest.raises(
        RequestError, match=r"two plugins offer the cell 'leaky-rnn': .*mine\.py .* taken by leaky 1\.0"
    ):
        registry.cell("leaky-rnn")
    with pytest.raises(RequestError, match=r"see `undertow plugin list --failed --plugin \S*mine\.py`"):
        registry.cell("bad")
    with pytest.raises(RequestError, match="not every plugin could be loaded"):
        load_plugins(files=[file], strict=True)


def test_a_scratch_file_that_offers_nothing_is_refused(install: Install, tmp_path: Path) -> None:
    file = tmp_path / "mine.py"
    file.write_text("from undertow import hookimpl\n\n@hookimpl\ndef undertow_register_cells():\n    return []\n")
    with pytest.raises(RequestError, match=r"mine\.py: the scratch plugin offers nothing"):
        load_plugins(files=[file])


def test_a_scratch_file_whose_only_name_is_taken_is_refused(install: Install, tmp_path: Path) -> None:
    install("leaky", cell("leaky-rnn"))
    file = tmp_path / "mine.py"
    file.write_text(cell("leaky-rnn"))
    with pytest.raises(RequestError, match=r"already taken by leaky 1\.0"):
        load_plugins(files=[file])


def test_the_environment_refuses_a_scratch_file_that_it_does_not_allow_before_it_is_imported(
    install: Install, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install("leaky", cell("leaky-rnn"))
    file = tmp_path / "mine.py"
    file.write_text("raise RuntimeError('imported')")
    monkeypatch.setenv("UNDERTOW_PLUGINS_ALLOW", "leaky")
    with pytest.raises(RequestError, match=r"mine\.py: UNDERTOW_PLUGINS_ALLOW does not list this scratch plugin"):
        load_plugins(files=[file])
    file.write_text(cell("mine"))
    monkeypatch.setenv("UNDERTOW_PLUGINS_ALLOW", f"leaky, {file}")
    assert set(load_plugins(files=[file]).cells) == {"leaky-rnn", "mine"}
    monkeypatch.setenv("UNDERTOW_PLUGINS_ALLOW", str(file))
    assert set(load_plugins(files=[file]).cells) == {"mine"}
    monkeypatch.setenv("UNDERTOW_PLUGINS_BLOCK", str(file))
    with pytest.raises(RequestError, match=r"mine\.py: UNDERTOW_PLUGINS_BLOCK lists this scratch plugin"):
        load_plugins(files=[file])


def test_a_link_to_a_scratch_file_is_allowed_by_what_it_leads_to(
    install: Install, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    allowed, other, link = tmp_path / "allowed.py", tmp_path / "other.py", tmp_path / "link.py"
    for file in (allowed, other):
        file.write_text(cell(file.stem))
    link.symlink_to(allowed)
    monkeypatch.setenv("UNDERTOW_PLUGINS_ALLOW", str(allowed))
    assert list(load_plugins(files=[link]).cells) == ["allowed"]
    link.unlink()
    link.symlink_to(other)
    with pytest.raises(RequestError, match="UNDERTOW_PLUGINS_ALLOW does not list"):
        load_plugins(files=[link])


@pytest.mark.parametrize("variable", ["UNDERTOW_PLUGINS_ALLOW", "UNDERTOW_PLUGINS_BLOCK"])
@pytest.mark.parametrize("entry", ["./mine.py", "mine.py"])
def test_a_scratch_file_is_listed_by_its_absolute_path_alone(
    install: Install, monkeypatch: pytest.MonkeyPatch, variable: str, entry: str
) -> None:
    monkeypatch.setenv(variable, entry)
    with pytest.raises(RequestError, match=rf"{variable}: .*`{entry}`.*absolute path"):
        load_plugins()


def test_copies_that_a_run_kept_are_loaded_whatever_the_environment_allows(
    install: Install, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept, elsewhere = tmp_path / "run" / "plugins", tmp_path / "run" / "plugins" / "below"
    elsewhere.mkdir(parents=True)
    for folder in (kept, elsewhere):
        (folder / f"{folder.name}.py").write_text(cell(f"of-{folder.name}"))
    monkeypatch.setenv("UNDERTOW_PLUGINS_ALLOW", "/nothing.py")
    assert list(load_plugins(files=[kept / "plugins.py"], kept=kept).cells) == ["of-plugins"]
    with pytest.raises(RequestError, match="UNDERTOW_PLUGINS_ALLOW does not list"):
        load_plugins(files=[elsewhere / "below.py"], kept=kept)
    with pytest.raises(RequestError, match="UNDERTOW_PLUGINS_ALLOW does not list"):
        load_plugins(files=[kept / "plugins.py"])
    assert list(load_plugins(files=[kept / "plugins.py"], again=()).cells) == ["of-plugins"]


def test_two_scratch_files_that_would_be_one_module_are_refused(install: Install, tmp_path: Path) -> None:
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "same.py").write_text(cell(folder))
    with pytest.raises(RequestError, match="rename one"):
        load_plugins(files=[tmp_path / "a" / "same.py", tmp_path / "b" / "same.py"])
