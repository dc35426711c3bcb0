"""Files beside a scratch plugin that it imports: found, imported, kept with it, refused where the name is taken."""

import hashlib
import importlib
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from undertow.errors import RequestError
from undertow.plugins import frozen
from undertow.plugins.finder import FINDER
from undertow.plugins.frozen import keep_copies
from undertow.plugins.host import load_plugins
from undertow.plugins.neighbours import neighbours, with_neighbours
from undertow.plugins.registry import Registry
from undertow.plugins.scratch import describe

Install = Callable[..., None]

CELL = """
from undertow import CellSpec, hookimpl

@hookimpl
def undertow_register_cells():
    return [CellSpec(name="NAME", summary="A cell.", factory=":Z", state=("h",))]
"""


@pytest.fixture(autouse=True)
def clean(install: Install, monkeypatch: pytest.MonkeyPatch) -> None:
    """No plugin is installed, no neighbour is known, and modules are forgotten at the end."""
    monkeypatch.setattr(FINDER, "_offered", {})
    monkeypatch.setattr(sys, "dont_write_bytecode", False)


def write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def cell(path: Path, imports: str) -> Path:
    return write(path, f"{imports}\n{CELL.replace('NAME', path.stem)}")


def load(*files: Path) -> Registry:
    return load_plugins(files=files)


def module(path: Path) -> dict[str, object]:
    return vars(sys.modules[f"undertow_scratch_{path.stem}"])


@pytest.mark.parametrize(
    "text",
    [
        "import near",
        "import near.below as below",
        "from near.below import x",
        "def step():\n    import near\n",
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from near import Z\n",
        "try:\n    import fast\nexcept ImportError:\n    import near\n",
        "Spec(factory='near.below:Net')",
    ],
)
def test_every_way_to_import_a_neighbour_is_found(tmp_path: Path, text: str) -> None:
    near = write(tmp_path / "near.py", "")
    assert neighbours(write(tmp_path / "mine.py", text)) == {"near": near}


@pytest.mark.parametrize(
    "text",
    [
        "",
        "from . import near",
        "import nearer",
        "near: int = 1",
        "import importlib",
        "import mine",
        "import undertow",
        "(",
    ],
)
def test_nothing_else_is(tmp_path: Path, text: str) -> None:
    for name in ("near", "undertow"):
        write(tmp_path / f"{name}.py", "")
    assert neighbours(write(tmp_path / "mine.py", text)) == {}


def test_neighbours_of_neighbours_and_whole_packages_belong_to_the_plugin(tmp_path: Path) -> None:
    write(tmp_path / "parts" / "__init__.py", "")
    write(tmp_path / "parts" / "deep" / "gates.py", "import last")
    write(tmp_path / "first.py", "import parts, mine")
    write(tmp_path / "last.py", "import first")
    write(tmp_path / "parts.py", "hidden by the package, as in Python")
    mine = write(tmp_path / "mine.py", "import first")
    assert [file.relative_to(tmp_path).as_posix() for file in with_neighbours([mine])] == [
        *("mine.py", "first.py", "last.py"),
        *("parts/__init__.py", "parts/deep/gates.py"),
    ]


def test_the_version_is_the_hash_of_the_file_until_it_has_neighbours_whose_edits_change_it(tmp_path: Path) -> None:
    mine = write(tmp_path / "mine.py", "import near\n")
    alone = describe(mine).version
    assert alone == f"sha256:{hashlib.sha256(mine.read_bytes()).hexdigest()[:12]}"
    near = write(tmp_path / "near.py", "x = 1")
    with_one = describe(mine)
    near.write_text("x = 2")
    edited = describe(mine)
    assert len({alone, with_one.version, edited.version}) == 3
    assert [name for name, _ in edited.neighbours] == ["near.py"]
    near.unlink()
    assert describe(mine).version == alone


def test_a_plugin_imports_its_neighbours_also_later_and_nothing_else_of_its_folder(tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    write(folder / "near.py", "from parts.gates import gate\n")
    write(folder / "parts" / "__init__.py", "")
    write(folder / "parts" / "gates.py", "from . import __name__ as name\ngate = name\n")
    write(folder / "late.py", "x = 'late'")
    write(folder / "hidden.py", "")
    text = "import importlib\nfrom near import gate\ndef later():\n    import late\n    return late.x\n"
    text += "def by_name():\n    importlib.import_module('hidden')\n"
    mine = cell(folder / "mine.py", text)
    load(mine)
    assert module(mine)["gate"] == "parts"
    assert "late" not in sys.modules
    assert module(mine)["later"]() == "late"  # type: ignore[operator]
    with pytest.raises(ModuleNotFoundError):
        module(mine)["by_name"]()  # type: ignore[operator]
    assert not list(folder.rglob("__pycache__"))


def test_the_class_of_a_spec_may_be_in_a_neighbour(tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    write(folder / "near.py", "class Net: ...\n")
    mine = write(folder / "mine.py", CELL.replace("NAME", "mine").replace(":Z", "near:Net"))
    name, _, attribute = load(mine).cell("mine").factory.partition(":")
    assert getattr(importlib.import_module(name), attribute).__module__ == "near"


def test_an_edit_of_a_neighbour_is_imported_again_and_nothing_is_without_one(tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    base = write(folder / "base.py", "x = 1")
    write(folder / "near.py", "from base import x")
    write(folder / "other.py", "")
    mine = cell(folder / "mine.py", "import near, other")
    load(mine)
    first, other = sys.modules["undertow_scratch_mine"], sys.modules["other"]
    load(mine)
    assert sys.modules["undertow_scratch_mine"] is first
    base.write_text("x = 2")  # in the same second, and as long as before
    load(mine)
    assert module(mine)["near"].x == 2  # type: ignore[attr-defined]
    assert sys.modules["other"] is other


def test_two_plugins_of_one_folder_share_a_neighbour(tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    near = write(folder / "near.py", "class X: ...")
    a, b = (cell(folder / f"{name}.py", "from near import X") for name in ("a", "b"))
    for _ in range(2):
        load(a, b)
        assert module(a)["X"] is module(b)["X"]
        near.write_text("class X: 'edited'")
    assert module(a)["X"].__doc__ == "edited"


def test_of_two_copies_of_a_plugin_each_imports_its_own_neighbour(tmp_path: Path) -> None:
    original = cell(tmp_path / "here" / "mine.py", "import near\ndef later():\n    import late\n    return late.x\n")
    for name in ("near", "late"):
        write(tmp_path / "here" / f"{name}.py", "x = 'kept'")
    (copy,) = keep_copies([original], tmp_path / "run" / "plugins")
    for name in ("near", "late"):
        write(tmp_path / "here" / f"{name}.py", "x = 'edited'")
    for path, expected in [(original, "edited"), (copy, "kept"), (original, "edited"), (copy, "kept")]:
        load(path)
        assert module(path)["near"].x == expected  # type: ignore[attr-defined]
        assert module(path)["later"]() == expected  # type: ignore[operator]


def test_a_plugin_is_imported_again_with_its_neighbour_after_another_one_has_taken_the_name(tmp_path: Path) -> None:
    a, b = (cell(tmp_path / name / f"{name}.py", "import near") for name in ("a", "b"))
    for path in (a, b):
        write(path.parent / "near.py", "")
    for path in (a, b, a):
        load(path)
        assert module(path)["near"] is sys.modules["near"]
        assert sys.modules["near"].__file__ == str(path.parent / "near.py")


def test_the_copy_is_right_even_where_python_itself_finds_the_original(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = cell(tmp_path / "here" / "mine.py", "import near")
    write(tmp_path / "here" / "near.py", "x = 'kept'")
    (copy,) = keep_copies([original], tmp_path / "run" / "plugins")
    write(tmp_path / "here" / "near.py", "x = 'edited'")
    monkeypatch.syspath_prepend(str(tmp_path / "here"))  # as in a notebook in this folder
    import near  # type: ignore[import-not-found]

    assert near.x == "edited"
    load(copy)
    assert module(copy)["near"].x == "kept"  # type: ignore[attr-defined]


@pytest.mark.parametrize("other", ["json", "helper_that_is_installed", "helper_that_is_loaded", "pluggy"])
def test_a_neighbour_with_the_name_of_another_module_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, other: str
) -> None:
    if other == "helper_that_is_installed":
        write(tmp_path / "site" / f"{other}.py", "")
        monkeypatch.syspath_prepend(str(tmp_path / "site"))
    if other == "helper_that_is_loaded":
        monkeypatch.setitem(sys.modules, other, type(sys)(other))
    near = write(tmp_path / "folder" / other / "__init__.py", "raise RuntimeError('imported')").parent
    mine = cell(tmp_path / "folder" / "mine.py", f"def later():\n    import {other}")
    before = sys.modules.get(other)
    with pytest.raises(RequestError) as caught:
        load(mine)
    where = {"json": "the standard library", "helper_that_is_loaded": "is loaded already"}.get(other, f"/{other}")
    message = str(caught.value)
    assert message.startswith(f"{mine}: `import {other}` could mean {near} or ")
    assert where in message.partition(" or ")[2]
    assert message.endswith(f": rename {near}.")
    assert sys.modules.get(other) is before
    assert not [name for name in FINDER._offered if name == other]


def test_a_name_that_another_plugin_does_not_find_beside_it_is_not_the_neighbour_of_an_earlier_one(
    tmp_path: Path,
) -> None:
    a, b = (cell(tmp_path / name / f"{name}.py", "import near") for name in ("a", "b"))
    write(a.parent / "near.py", "")
    load(a)
    with pytest.raises(RequestError, match="No module named 'near'"):
        load(b)
    load(a)


def test_a_folder_of_the_module_path_that_only_looks_like_a_package_takes_no_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "site" / "near").mkdir(parents=True)
    monkeypatch.syspath_prepend(str(tmp_path / "site"))
    write(tmp_path / "folder" / "near.py", "x = 1")
    mine = cell(tmp_path / "folder" / "mine.py", "from near import x")
    load(mine)
    assert module(mine)["x"] == 1


def test_neighbours_of_one_name_in_two_folders_are_refused_before_anything_is_imported(tmp_path: Path) -> None:
    a, b = (cell(tmp_path / name / f"{name}.py", "import near\nraise RuntimeError") for name in ("a", "b"))
    write(a.parent / "near.py", "")
    write(b.parent / "near" / "__init__.py", "")
    with pytest.raises(RequestError, match=r"a/near\.py and .*b/near/__init__\.py have one name: rename one of them"):
        load(a, b)


def test_a_plugin_whose_copy_would_become_a_neighbour_of_another_one_is_refused(tmp_path: Path) -> None:
    a = cell(tmp_path / "a" / "a.py", "import copy")
    b = cell(tmp_path / "b" / "copy.py", "")
    with pytest.raises(RequestError, match=r"a\.py imports another `copy` than .*b/copy\.py: rename .*b/copy\.py"):
        load(a, b)
    assert list(load(b).cells) == ["copy"]


def test_an_error_in_a_neighbour_is_named_with_its_line(tmp_path: Path) -> None:
    write(tmp_path / "folder" / "near.py", "\nraise ValueError('no')")
    mine = cell(tmp_path / "folder" / "mine.py", "import near")
    with pytest.raises(RequestError, match=r"mine\.py: .*cannot be imported: ValueError: no \(.*near\.py:2\)"):
        load(mine)
    write(tmp_path / "folder" / "near.py", "")
    load(mine)


def test_copies_hold_the_neighbours_and_are_kept_with_them(tmp_path: Path) -> None:
    mine = write(tmp_path / "here" / "mine.py", "import near, parts")
    near = write(tmp_path / "here" / "near.py", "x = 1")
    write(tmp_path / "here" / "parts" / "__init__.py", "")
    write(tmp_path / "here" / "parts" / "deep" / "gates.py", "")
    (copy,) = keep_copies([mine], tmp_path / "run" / "plugins")
    assert describe(copy).version == describe(mine).version
    assert len(with_neighbours([copy])) == 4
    near.write_text("x = 2")
    write(tmp_path / "here" / "further.py", "")
    mine.write_text("import near, further")
    before = describe(copy)
    assert keep_copies([mine], tmp_path / "run" / "plugins") == [copy]
    assert describe(copy) == before
    assert not (tmp_path / "run" / "plugins" / "further.py").exists()


def test_a_killed_copy_is_completed_by_the_next_call(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mine = write(tmp_path / "here" / "mine.py", "import a, b")
    for name in ("a", "b"):
        write(tmp_path / "here" / f"{name}.py", name)
    real = frozen._copy
    for allowed in range(3):
        calls: list[Path] = []

        def copy(file: Path, to: Path, allowed: int = allowed, calls: list[Path] = calls) -> None:
            if len(calls) == allowed:
                raise KeyboardInterrupt
            calls.append(file)
            real(file, to)

        with monkeypatch.context() as patch:
            patch.setattr(frozen, "_copy", copy)
            with pytest.raises(KeyboardInterrupt):
                keep_copies([mine], tmp_path / f"run-{allowed}")
        assert not (tmp_path / f"run-{allowed}" / "mine.py").exists()
        (whole,) = keep_copies([mine], tmp_path / f"run-{allowed}")
        assert describe(whole).version == describe(mine).version


def test_a_changed_neighbour_is_a_version_of_its_own(tmp_path: Path) -> None:
    write(tmp_path / "folder" / "parts" / "__init__.py", "")
    mine = cell(tmp_path / "folder" / "mine.py", "import parts")
    before = load(mine).versions()
    assert set(before) == {"mine.py", "parts/__init__.py of mine.py"}
    write(tmp_path / "folder" / "parts" / "__init__.py", "x = 1")
    after = load(mine).versions()
    assert all(after[name] != before[name] for name in before)


def test_a_permitted_plugin_may_import_its_neighbours_but_not_a_blocked_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    near = write(tmp_path / "folder" / "near.py", "")
    mine = cell(tmp_path / "folder" / "mine.py", "import near")
    monkeypatch.setenv("UNDERTOW_PLUGINS_ALLOW", str(mine))
    assert list(load(mine).cells) == ["mine"]
    monkeypatch.setenv("UNDERTOW_PLUGINS_BLOCK", str(near))
    with pytest.raises(RequestError, match=r"mine\.py: UNDERTOW_PLUGINS_BLOCK lists .*near\.py, which this scratch"):
        load(mine)
