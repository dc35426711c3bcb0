"""Markdown tables: `undertow list --markdown`, `--write`, and the READMEs of the plugins."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Call = Callable[..., Any]

ROOT = Path(__file__).parents[3]


def test_markdown_of_cells_escapes_bars_and_markup(call: Call, buildable: Path) -> None:
    out = call("list", "cells", "--markdown", "--from", str(buildable.resolve()), "--plugin", buildable).out
    assert out.splitlines() == [
        "| cell | update | state | options | source |",
        "| --- | --- | --- | --- | --- |",
        r"| `swift-tide` | The same, \*fast\* \| far. | level, flow |  |  |",
        r"| `tide` | `level' = \|level\| + flow`<br>`flow' = flow` | level, flow |  | Newton, \<i>Principia\</i> |",
    ]


def test_markdown_of_built_objects_has_more_columns(call: Call, buildable: Path) -> None:
    here = ("--markdown", "--from", str(buildable.resolve()), "--plugin", buildable)
    heading, _, _, tide = call("list", "cells", "--width", "4", *here).out.splitlines()
    assert heading == "| cell | update | state | runs on | parameters (1 input, 4 units) | options | source |"
    assert "| the loop over steps | 4 |" in tide
    heading, _, ports = call("list", "tasks", "--build", *here).out.splitlines()
    columns = ["task", "shape", "what", "length", "scores", "trivial loss", "trivial scores", "solved", "options"]
    assert heading == f"| {' | '.join(columns)} | source |"
    assert r"| 3 to 99 (12) | `accuracy`, `delay` | 0.08333 | accuracy 0.2, delay 40 | when \_all\_ arrive |" in ports


def test_a_table_is_written_between_its_markers_and_nothing_else_changes(call: Call, buildable: Path) -> None:
    readme = Path("README.md")
    readme.write_text("# Tides\n<!-- tasks: begin -->\nold\n<!-- tasks: end -->\nand the rest\n")
    words = ("list", "tasks", "--from", str(buildable.resolve()), "--plugin", buildable)
    table = call(*words, "--markdown").out
    assert call(*words, "--write", readme).out == "README.md: the table of tasks is written\n"
    expected = f"# Tides\n<!-- tasks: begin -->\n\n{table}\n<!-- tasks: end -->\nand the rest\n"
    assert readme.read_text() == expected
    assert call(*words, "--write", readme).out == "README.md: the table of tasks is unchanged\n"
    assert readme.read_text() == expected


@pytest.mark.parametrize(
    "text",
    ["no markers\n", "<!-- tasks: begin -->\n", "<!-- cells: begin -->\n<!-- cells: end -->\n"],
    ids=["none", "no end", "of another kind"],
)
def test_a_file_without_markers_is_not_changed(call: Call, text: str) -> None:
    readme = Path("README.md")
    readme.write_text(text)
    code, out, err = call("list", "tasks", "--write", readme)
    assert (code, out) == (2, "")
    assert "`<!-- tasks: begin -->` and `<!-- tasks: end -->`" in err
    assert readme.read_text() == text


def test_a_missing_file_is_refused(call: Call) -> None:
    assert "nowhere.md: No such file" in call("list", "tasks", "--write", "nowhere.md").err


def test_markdown_of_plugins_names_everything_they_register(call: Call, buildable: Path) -> None:
    *_, last = call("plugin", "list", "--markdown", "--plugin", buildable).out.splitlines()
    assert last == f"| `{buildable.resolve()}` | cells: `swift-tide`, `tide`<br>tasks: `ports` |"


TABLES = [
    (readme, kind)
    for readme in sorted(ROOT.glob("plugins/*/README.md"))
    for kind in ("cells", "tasks", "probes")
    if f"<!-- {kind}: begin -->" in readme.read_text()
]


def test_every_shipped_kind_has_a_table() -> None:
    assert {(f"undertow-{kind}", kind) for kind in ("cells", "tasks", "probes")} <= {
        (readme.parent.name, kind) for readme, kind in TABLES
    }


@pytest.mark.parametrize(("readme", "kind"), TABLES, ids=lambda value: getattr(value, "parent", Path(str(value))).name)
def test_the_table_in_the_readme_of_a_plugin_agrees_with_its_specs(call: Call, readme: Path, kind: str) -> None:
    build = () if kind == "probes" else ("--build",)
    table = call("list", kind, "--from", readme.parent.name, *build, "--markdown").out
    assert f"<!-- {kind}: begin -->\n\n{table}\n<!-- {kind}: end -->\n" in readme.read_text(), "run `make tables`"


def test_the_table_of_the_plugins_agrees_with_their_specs(call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    shipped = [folder.parent.name for folder in ROOT.glob("plugins/*/pyproject.toml")]
    monkeypatch.setenv("UNDERTOW_PLUGINS_ALLOW", ",".join(shipped))
    table = call("plugin", "list", "--markdown").out
    text = (ROOT / "plugins" / "README.md").read_text()
    assert f"<!-- plugins: begin -->\n\n{table}\n<!-- plugins: end -->\n" in text, "run `make tables`"


def test_a_file_that_is_not_utf_8_is_refused(call: Call) -> None:
    Path("README.md").write_bytes("<!-- tasks: begin -->\n<!-- tasks: end -->\nJérôme\n".encode("latin-1"))
    code, out, err = call("list", "tasks", "--write", "README.md")
    assert (code, out) == (2, "")
    assert err == "error: README.md: it is not UTF-8 text.\n"
