"""`undertow plugin list`."""

from collections.abc import Callable
from typing import Any

Call = Callable[..., Any]
Install = Callable[[str, str], None]

BROKEN = "raise RuntimeError('cannot start')\n"


def test_plugin_list_shows_what_each_distribution_offers(call: Call) -> None:
    code, out, _ = call("plugin", "list")
    assert code == 0
    (line,) = [line for line in out.splitlines() if line.split()[:1] == ["undertow-cells"]]
    assert " antisymmetric," in line


def test_plugin_list_reports_a_failure_with_its_remedy_and_exits_with_0(call: Call, install: Install) -> None:
    install("broken-cells", BROKEN)
    code, out, _ = call("plugin", "list")
    assert code == 0
    assert "undertow-cells" in out
    assert "broken-cells" in out
    assert "cannot start" in out
    assert "plugins: {block: [broken-cells]}" in out


def test_plugin_list_failed_leaves_out_plugins_that_loaded(call: Call, install: Install) -> None:
    install("broken-cells", BROKEN)
    document = call("plugin", "list", "--failed", "--json").document
    assert list(document) == ["failures"]
    (failure,) = document["failures"]
    assert failure["distribution"] == "broken-cells"
    assert failure["version"] == "1.2"
    assert failure["stage"] == "import"
    assert "undertow-cells" not in call("plugin", "list", "--failed").out


def test_plugin_list_as_json_has_plugins_and_failures(call: Call, install: Install) -> None:
    install("broken-cells", BROKEN)
    document = call("plugin", "list", "--json").document
    assert [each["distribution"] for each in document["failures"]] == ["broken-cells"]
    cells = {each["distribution"]: each["cells"] for each in document["plugins"]}
    assert cells["undertow-cells"] == sorted(cells["undertow-cells"])
    assert {"gru", "lstm", "rnn", "ugrnn"} <= set(cells["undertow-cells"])
