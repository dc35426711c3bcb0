"""`undertow list` and `undertow plugin list`."""

from collections.abc import Callable
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest

Call = Callable[..., Any]
Install = Callable[[str, str], None]

SCRATCH = """
    from typing import Annotated, Literal
    from pydantic import Field
    from undertow import CellSpec, Lengths, Options, TaskSpec, hookimpl

    class TideOptions(Options):
        pull: Annotated[float, Field(gt=0, le=2, description="How hard the moon pulls.")] = 0.5
        phase: Literal["spring", "neap"] = "neap"
        depth: Annotated[int, Field(ge=1)] | None = None
        ebb: bool = True

    @hookimpl
    def undertow_register_cells():
        yield CellSpec(
            name="tide", summary="Comes and goes.", factory=":Tide", options=TideOptions, state=("level", "flow"),
            equation="level' = level + flow", paper="Newton 1687",
        )

    @hookimpl
    def undertow_register_tasks():
        yield TaskSpec(
            name="ports", summary="Which port?", factory=":Ports", shape="aligned",
            lengths=Lengths(default=12, minimum=3, maximum=99), metrics={"accuracy": "max", "delay": "min"},
        )
"""

BROKEN = "raise RuntimeError('no water')\n"


@pytest.fixture
def scratch(runs: Path) -> Path:
    path = Path("tide.py")
    path.write_text(dedent(SCRATCH))
    return path


def test_list_shows_every_cell_with_state_and_source(call: Call) -> None:
    code, out, err = call("list", "cells")
    assert (code, err) == (0, "")
    (line,) = [line for line in out.splitlines() if line.split()[:1] == ["lstm"]]
    assert "h, c" in line
    assert "undertow-cells" in line


@pytest.mark.parametrize(
    ("kind", "names"),
    [
        ("cells", {"rnn", "lstm", "gru", "ugrnn"}),
        ("tasks", {"digits-by-pixel", "digit", "adding", "copy"}),
        ("probes", {"gradient-profile", "saturation", "cost"}),
    ],
)
def test_list_as_json_has_what_is_shipped_sorted_by_name(call: Call, kind: str, names: set[str]) -> None:
    listed = [each["name"] for each in call("list", kind, "--json").document[kind]]
    assert names <= set(listed)
    assert listed == sorted(listed)


def test_a_scratch_cell_is_listed_beside_the_others(call: Call, scratch: Path) -> None:
    out = call("list", "cells", "--plugin", scratch).out
    assert "tide" in out
    assert "lstm" in out


def test_one_cell_tells_equation_source_and_options(call: Call, scratch: Path) -> None:
    out = call("list", "cells", "tide", "--plugin", scratch).out
    for text in ("level' = level + flow", "Newton 1687", "level, flow", str(scratch.resolve())):
        assert text in out
    options = {line.split()[0]: line for line in out.splitlines() if line.strip()}
    assert "float" in options["pull"]
    assert "0.5" in options["pull"]
    assert "> 0, <= 2" in options["pull"]
    assert "How hard the moon pulls." in options["pull"]
    assert "spring | neap" in options["phase"]
    assert "int | null" in options["depth"]
    assert ">= 1" in options["depth"]
    assert "true" in options["ebb"]


def test_one_cell_as_json(call: Call, scratch: Path) -> None:
    document = call("list", "cells", "tide", "--plugin", scratch, "--json").document
    assert document["state"] == ["level", "flow"]
    assert document["options"][0] == {
        "name": "pull",
        "type": "float",
        "default": 0.5,
        "range": "> 0, <= 2",
        "description": "How hard the moon pulls.",
    }


def test_one_task_tells_shape_lengths_and_what_is_better(call: Call, scratch: Path) -> None:
    out = call("list", "tasks", "ports", "--plugin", scratch).out
    assert "aligned" in out
    assert "3 to 99, 12 by default (time steps)" in out
    assert "accuracy (more is better), delay (less is better)" in out
    assert "It has no options." in out


def test_one_task_as_json(call: Call) -> None:
    document = call("list", "tasks", "digits-by-pixel", "--json").document
    assert document["shape"] == "many-to-one"
    assert document["lengths"]["minimum"] == 64
    assert document["metrics"] == {"accuracy": "max"}


@pytest.mark.parametrize(
    ("kind", "name", "near"),
    [("cells", "lstn", "lstm"), ("tasks", "ading", "adding"), ("probes", "costs", "cost")],
)
def test_an_unknown_name_gives_the_nearest(call: Call, kind: str, name: str, near: str) -> None:
    code, out, err = call("list", kind, name)
    assert (code, out) == (2, "")
    assert f"Did you mean `{near}`?" in err


def test_plugin_list_shows_what_each_distribution_offers(call: Call) -> None:
    code, out, _ = call("plugin", "list")
    assert code == 0
    (line,) = [line for line in out.splitlines() if line.split()[:1] == ["undertow-cells"]]
    assert "gru, lstm, rnn, ugrnn" in line


def test_plugin_list_reports_a_failure_with_its_remedy_and_is_no_failure_itself(call: Call, install: Install) -> None:
    install("dry-cells", BROKEN)
    code, out, _ = call("plugin", "list")
    assert code == 0
    assert "undertow-cells" in out
    assert "dry-cells" in out
    assert "no water" in out
    assert "plugins: {block: [dry-cells]}" in out


def test_plugin_list_failed_leaves_out_what_works(call: Call, install: Install) -> None:
    install("dry-cells", BROKEN)
    document = call("plugin", "list", "--failed", "--json").document
    assert list(document) == ["failures"]
    (failure,) = document["failures"]
    assert failure["distribution"] == "dry-cells"
    assert failure["version"] == "1.2"
    assert failure["stage"] == "import"
    assert "undertow-cells" not in call("plugin", "list", "--failed").out


def test_plugin_list_as_json_has_plugins_and_failures(call: Call, install: Install) -> None:
    install("dry-cells", BROKEN)
    document = call("plugin", "list", "--json").document
    assert [each["distribution"] for each in document["failures"]] == ["dry-cells"]
    cells = {each["distribution"]: each["cells"] for each in document["plugins"]}
    assert cells["undertow-cells"] == ["gru", "lstm", "rnn", "ugrnn"]


def test_list_mentions_that_something_failed(call: Call, install: Install) -> None:
    install("dry-cells", BROKEN)
    assert "undertow plugin list --failed" in call("list", "cells").out
    assert call("list", "cells", "--json").document["failures"] == 1
