"""`undertow list`."""

import json
import subprocess
import sys
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

BROKEN = "raise RuntimeError('cannot start')\n"

MAIN = """
import sys
from undertow.cli import main
code = main(sys.argv[1:])
print("torch" in sys.modules, file=sys.stderr)
sys.exit(code)
"""


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
def test_list_as_json_has_the_shipped_plugins_sorted_by_name(call: Call, kind: str, names: set[str]) -> None:
    listed = [each["name"] for each in call("list", kind, "--json").document[kind]]
    assert names <= set(listed)
    assert listed == sorted(listed)


def test_a_scratch_cell_is_listed_beside_the_others(call: Call, scratch: Path) -> None:
    out = call("list", "cells", "--plugin", scratch).out
    assert "tide" in out
    assert "lstm" in out


def test_one_cell_is_described_with_equation_source_and_options(call: Call, scratch: Path) -> None:
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


def test_one_task_is_described_with_shape_lengths_and_metric_directions(call: Call, scratch: Path) -> None:
    out = call("list", "tasks", "ports", "--plugin", scratch).out
    assert "aligned" in out
    assert "3 to 99, 12 by default (time steps)" in out
    assert "accuracy (more is better), delay (less is better)" in out
    assert "It has no options." in out


def test_one_probe_is_described_with_each_of_its_numbers(call: Call) -> None:
    code, out, _ = call("list", "probes", "lyapunov")
    assert code == 0
    assert "The i-th largest finite-time exponent" in out
    document = call("list", "probes", "lyapunov", "--json").document
    assert document["measures"]["lyapunov/<i>/by_time"] == "The same from the steps so far, by time step"


def test_one_task_as_json(call: Call) -> None:
    document = call("list", "tasks", "digits-by-pixel", "--json").document
    assert document["shape"] == "many-to-one"
    assert document["lengths"]["minimum"] == 64
    assert document["metrics"] == {"accuracy": "max"}


@pytest.mark.parametrize(
    ("kind", "name", "near"),
    [("cells", "lstn", "lstm"), ("tasks", "ading", "adding"), ("probes", "costs", "cost")],
)
def test_an_unknown_name_is_reported_with_the_nearest_one(call: Call, kind: str, name: str, near: str) -> None:
    code, out, err = call("list", kind, name)
    assert (code, out) == (2, "")
    assert f"Did you mean `{near}`?" in err


def test_list_mentions_that_something_failed(call: Call, install: Install) -> None:
    install("broken-cells", BROKEN)
    assert "undertow plugin list --failed" in call("list", "cells").out
    assert call("list", "cells", "--json").document["failures"] == 1


@pytest.mark.parametrize("kind", ["tasks", "probes"])
def test_no_word_is_broken_at_80_columns(call: Call, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    documents = call("list", kind, "--json").document[kind]
    monkeypatch.setenv("COLUMNS", "80")
    lines = call("list", kind).out.splitlines()
    assert max(map(len, lines)) <= 80
    assert {line.split()[0] for line in lines} >= {document["name"] for document in documents}
    words = {word for line in lines for word in line.split()}
    assert words >= {word for document in documents for word in document["summary"].split()}


def test_the_cells_are_a_screen_at_80_columns_by_distribution(call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    documents = call("list", "cells", "--json").document["cells"]
    monkeypatch.setenv("COLUMNS", "80")
    lines = call("list", "cells").out.splitlines()
    assert len(lines) <= 30
    assert max(map(len, lines)) <= 80
    headings = [line for line in lines if line.startswith("undertow-")]
    assert [line.split()[0] for line in headings] == ["undertow-cells", "undertow-torchrecurrent"]
    assert headings[1].endswith(": torchrecurrent/NAME")
    words = [word.strip(",…") for line in lines for word in line.split()]
    known = {word.strip(".,;:") for each in documents for word in each["summary"].split()}
    names = {each["name"].removeprefix("torchrecurrent/") for each in documents}
    assert names <= set(words)
    shown = words[words.index("0.1.0") + 1 : words.index("undertow-torchrecurrent")]
    assert {word.strip(":;") for word in shown} <= known | names


def test_a_cell_of_a_scratch_file_is_listed_below_its_path_at_80_columns(
    call: Call, scratch: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    lines = call("list", "cells", "--plugin", scratch).out.splitlines()
    (place,) = [place for place, line in enumerate(lines) if line.startswith(str(scratch.resolve()))]
    assert lines[place + 1].split() == ["tide", "Comes", "and", "goes."]


def test_the_parameters_of_cells_are_beside_their_names_at_80_columns(
    call: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    lines = call("list", "cells", "--from", "undertow-cells", "--width", "8").out.splitlines()
    assert ["ugrnn", "h", str(2 * (8 + 8 * 8 + 8))] in [line.split() for line in lines]


@pytest.mark.parametrize("kind", ["cells", "tasks", "probes"])
def test_names_alone_are_a_line_each(call: Call, kind: str) -> None:
    listed = [each["name"] for each in call("list", kind, "--json").document[kind]]
    assert call("list", kind, "--names").out.splitlines() == listed


def test_names_exclude_what_shows_more(call: Call) -> None:
    code, out, err = call("list", "cells", "lstm", "--names")
    assert (code, out) == (2, "")
    assert "--names is a list by itself" in err


# --- properties of built objects --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "imported"),
    [
        (("cells",), False),
        (("cells", "lstm"), False),
        (("cells", "lstm", "--json"), False),
        (("tasks", "--from", "undertow-tasks"), False),
        (("cells", "--markdown"), False),
        (("cells", "lstm", "--width", "8"), True),  # shows that the check can fail
    ],
    ids=lambda words: " ".join(words) if isinstance(words, tuple) else None,
)
def test_torch_is_imported_only_to_build(words: tuple[str, ...], imported: bool) -> None:
    done = subprocess.run([sys.executable, "-c", MAIN, "list", *words], capture_output=True, text=True, check=True)
    assert done.stderr.splitlines()[-1] == str(imported)


def test_a_width_counts_the_parameters_of_a_cell(call: Call) -> None:
    built = call("list", "cells", "lstm", "--width", "8", "--inputs", "3", "--json").document["built"]
    assert (built["width"], built["inputs"], built["length"]) == (8, 3, 100)
    assert built["parameters"] == 4 * (8 * 3 + 8 * 8 + 2 * 8)  # four gates: W, U and torch's two biases
    assert sum(each["parameters"] for each in built["tensors"]) == built["parameters"]
    assert built["tensors"][0] == {"name": "kernel.weight_ih_l0", "shape": [32, 3], "parameters": 96}
    assert built["state_size"] == 16
    assert built["runs_on"] == "torch's fused kernel"


def test_a_built_cell_is_described_with_its_parameters(call: Call, buildable: Path) -> None:
    out = call("list", "cells", "tide", "--width", "1000", "--inputs", "2", "--plugin", buildable).out
    lines = [" ".join(line.split()) for line in out.splitlines()]
    assert "parameters 2,000 with 1,000 units on 2 inputs" in lines
    assert "cell.lr_scale: {pull: 0.1} multiplies the learning rate of one of them, named by its last part." in lines
    assert "state size 7 numbers an example" in lines
    assert "runs on the loop over steps" in lines
    assert "pull 1000 × 2 2,000" in lines
    assert not [line for line in lines if line.startswith("rest ")]  # it does not require a gradient


def test_a_cell_with_a_scan_runs_on_it(call: Call, buildable: Path) -> None:
    built = call("list", "cells", "swift-tide", "--build", "--plugin", buildable, "--json").document["built"]
    assert built["runs_on"] == "a scan of its own"
    assert (built["width"], built["inputs"]) == (128, 1)


def test_a_cell_that_cannot_be_built_is_reported_with_its_error(call: Call, buildable: Path) -> None:
    code, out, err = call("list", "cells", "tide", "--width", "3", "--plugin", buildable)
    assert (code, out) == (2, "")
    assert "cannot be built with 3 units: ValueError: the width must be even" in err
    assert str(buildable.resolve()) in err


def test_a_cell_that_cannot_be_built_does_not_hide_the_others(call: Call, buildable: Path) -> None:
    words = ("list", "cells", "--from", str(buildable.resolve()), "--width", "3", "--plugin", buildable)
    code, out, err = call(*words, "--json")
    assert code == 0
    assert err.count("not built: cell `") == 2
    cells = json.loads(out)["cells"]
    assert [each["name"] for each in cells] == ["swift-tide", "tide"]
    assert all("the width must be even" in each["built"]["error"] for each in cells)
    assert "Comes and goes." in call(*words).out
    assert "| `tide` | " in call(*words, "--markdown").out


def test_a_list_with_a_width_has_a_column_of_parameters(call: Call) -> None:
    out = call("list", "cells", "--from", "undertow-cells", "--width", "8").out
    (line,) = [line for line in out.splitlines() if line.split()[:1] == ["ugrnn"]]
    assert line.split()[-1] == str(2 * (8 + 8 * 8 + 8))


def test_a_built_task_is_described_with_its_trivial_loss_and_when_it_is_solved(call: Call, buildable: Path) -> None:
    words = ("list", "tasks", "ports", "--length", "50", "--plugin", buildable)
    built = call(*words, "--json").document["built"]
    assert built == {
        "length": 50,
        "inputs": {"width": 2},
        "output_size": 5,
        "examples": {"train": 1200, "val": None, "test": None},
        "trivial_loss": 0.02,
        "trivial_scores": {"accuracy": 0.2, "delay": 40.0},
        "solved": "when _all_ arrive",
    }
    lines = [" ".join(line.split()) for line in call(*words).out.splitlines()]
    for line in (
        "inputs width 2",
        "examples train 1,200, val endless, test endless",
        "trivial loss 0.02 at 50 steps",
        "trivial scores accuracy 0.2, delay 40",
    ):
        assert line in lines


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (("probes", "--build"), "--build does not apply to probes"),
        (("probes", "--width", "8"), "--width does not apply to probes, only to cells"),
        (("tasks", "--width", "8"), "--width does not apply to tasks, only to cells"),
        (("probes", "--length", "8"), "--length does not apply to probes, only to cells or tasks"),
        (("cells", "--width", "0"), "--width is 0; allowed: 1 or more"),
        (("tasks", "adding", "--length", "1"), "task `adding` cannot have 1 steps; allowed: 2 or more"),
        (("cells", "--from", "undertow-cell"), "Did you mean `undertow-cells`?"),
        (("cells", "lstm", "--from", "undertow-tasks"), "lstm is not from undertow-tasks"),
    ],
    ids=lambda words: " ".join(words) if isinstance(words, tuple) else None,
)
def test_a_size_or_source_that_does_not_apply_is_refused(call: Call, words: tuple[str, ...], complaint: str) -> None:
    code, out, err = call("list", *words)
    assert (code, out) == (2, "")
    assert complaint in err
