"""A file and its overrides: how overrides are read, and the error for what is no configuration."""

from pathlib import Path
from typing import Any

import pytest

from undertow.config.load import LoadedExperiment, load_experiment
from undertow.errors import RequestError

GOOD = Path(__file__).with_name("good.yaml").read_text()


def load(text: str, *overrides: str) -> LoadedExperiment:
    Path("x.yaml").write_text(text)
    return load_experiment("x.yaml", overrides)


@pytest.mark.parametrize(
    ("change", "keys", "value"),
    [
        ("seed=7", ("seed",), 7),
        ("optim.lr=1e-2", ("optim", "lr"), 0.01),
        ("optim.betas.1=0.5", ("optim", "betas"), (0.9, 0.5)),
        ("question=on", ("question",), "on"),
        ("question=12:30", ("question",), "12:30"),
        ("question='a: b'", ("question",), "a: b"),
        ("question=a=b", ("question",), "a=b"),
        ("optim.clip_norm=", ("optim", "clip_norm"), None),
        ("train={max_steps: 5}", ("train", "max_steps"), 5),
        ("optim.scheduler.name=cosine", ("optim", "scheduler", "name"), "cosine"),
    ],
)
def test_an_override_is_read_as_yaml(folder: Path, change: str, keys: tuple[str, ...], value: Any) -> None:
    found: Any = load(GOOD, change).config
    for step in keys:
        found = getattr(found, step)
    assert found == value
    assert type(found) is type(value)


def test_an_override_can_change_a_part_of_a_default_list(folder: Path) -> None:
    text = GOOD.replace("probes:\n  - name: gauge\n    every: 10\n", "")
    config = load(text, "probes.0.every=50", "probes.0.name=gauge").config
    assert [(probe.name, probe.every) for probe in config.probes] == [("gauge", 50)]


def test_the_later_override_wins(folder: Path) -> None:
    loaded = load(GOOD, "cell={name: gated, layers: 3}", "cell.layers=2")
    assert loaded.config.cell.layers == 2
    assert loaded.config.cell.hidden_size == 128


def test_a_mistake_inside_an_overridden_section_names_the_override(folder: Path) -> None:
    change = "cell={name: gated, hidden_size: 0}"
    with pytest.raises(RequestError) as caught:
        load(GOOD, change)
    assert str(caught.value).startswith(f"--set {change}: cell.hidden_size: 0 is too small")
    assert len(str(caught.value).splitlines()) == 1


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("seed", "write KEY=VALUE"),
        ("=3", "write KEY=VALUE"),
        ("cell..name=x", "write KEY=VALUE"),
        ("cell.name.x=3", "cell.name is 'gated', which has no keys"),
        ("probes.1.every=3", "probes has 1 entries, counted from 0; there is none at '1'"),
        ("probes.first.every=3", "there is none at 'first'"),
        ("cell=[1", "the value is not valid YAML: while parsing a flow sequence"),
        ("question=a: b", "needs quotes"),
    ],
)
def test_a_malformed_override_is_refused(folder: Path, change: str, message: str) -> None:
    with pytest.raises(RequestError) as caught:
        load(GOOD, change)
    assert str(caught.value).startswith(f"--set {change}: ")
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (b"", "x.yaml: the file is empty"),
        (b"# nothing\n", "x.yaml: the file is empty"),
        (b"- a\n", "x.yaml:1: found ['a']; an experiment starts with keys"),
        (b"task:\n  name: a: b\n", "x.yaml:2:10: not valid YAML: mapping values are not allowed here"),
        (b"task: {name: a\n", "x.yaml:2:1: not valid YAML: while parsing a flow mapping"),
        (b"task: {}\ntask: {}\n", "x.yaml:2:1: not valid YAML: the key `task` is here twice, first in line 1"),
        (b"1: 2\n", "x.yaml:1:1: not valid YAML: 1 is not a key"),
        (b"a: \xff\n", "x.yaml:1: this is not UTF-8 text: found byte 0xff"),
        (b"a: 1\x00\n", "x.yaml:1:5: not valid YAML: the character '\\x00' is not allowed"),
        (b"a: !!python/name:os.system\n", "x.yaml:1:4: not valid YAML: the tag"),
        (b"a: &a [*a]\n", "x.yaml:1:4: not valid YAML: an alias that contains itself"),
        (b"a: 1\n---\nb: 2\n", "x.yaml:2:1: not valid YAML: expected a single document"),
    ],
)
def test_a_file_that_is_no_configuration_is_refused_at_its_line(folder: Path, raw: bytes, message: str) -> None:
    (folder / "x.yaml").write_bytes(raw)
    with pytest.raises(RequestError) as caught:
        load_experiment("x.yaml")
    assert str(caught.value).startswith(message)


def test_a_file_that_is_too_large_is_refused_before_it_is_parsed(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Path("x.yaml").write_text("task: {name: count}\ncell: {name: plain}\n" + "#\n" * 600_000)
    with monkeypatch.context() as patch:
        patch.setattr("undertow.config.source.parse", None)
        with pytest.raises(RequestError, match=r"^x\.yaml: this file has 1\.2 MB; a configuration has at most 1 MB"):
            load_experiment("x.yaml")


def test_a_configuration_that_a_run_has_written_may_be_larger(folder: Path) -> None:
    Path("x.yaml").write_text("task: {name: count}\ncell: {name: missing}\n" + "#\n" * 600_000)
    with pytest.raises(RequestError, match="there is no cell 'missing'"):  # it was parsed
        load_experiment("x.yaml", kept=folder / "plugins")


def test_the_error_for_an_absent_file_names_the_nearest_one(folder: Path) -> None:
    (folder / "digits.yaml").write_text(GOOD)
    with pytest.raises(RequestError, match=r"^digit\.yaml: no such file\. Did you mean `digits\.yaml`\?$"):
        load_experiment("digit.yaml")
    with pytest.raises(RequestError, match=r"^\.: this is a folder; name a file in it\. There is: digits\.yaml\.$"):
        load_experiment(".")
    with pytest.raises(RequestError, match="no such file: there is no folder nowhere"):
        load_experiment("nowhere/x.yaml")
