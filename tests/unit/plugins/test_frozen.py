"""Copies of scratch plugins, and the comparison of today's code with that of the start."""

from pathlib import Path

import pytest

from undertow.errors import RequestError
from undertow.plugins.frozen import changed_code, keep_copies, require_same_code

STARTED = {"undertow-cells": "0.1.0", "mine.py": "sha256:aaaaaaaaaaaa"}


def write(path: Path, text: str) -> Path:
    path.parent.mkdir(exist_ok=True)
    path.write_text(text)
    return path


def test_copies_come_in_the_order_of_the_files_and_hold_the_same_bytes(tmp_path: Path) -> None:
    files = [write(tmp_path / "b.py", "b = 'é'\r\n"), write(tmp_path / "a.py", "a = 1\n")]
    copies = keep_copies(files, tmp_path / "run" / "plugins")
    assert copies == [tmp_path / "run" / "plugins" / "b.py", tmp_path / "run" / "plugins" / "a.py"]
    assert [copy.read_bytes() for copy in copies] == [file.read_bytes() for file in files]
    assert sorted(copies) == sorted((tmp_path / "run" / "plugins").iterdir())


def test_without_files_there_is_no_folder(tmp_path: Path) -> None:
    assert keep_copies([], tmp_path / "plugins") == []
    assert not (tmp_path / "plugins").exists()


def test_a_copy_stays_as_it_was_at_the_start_when_the_original_is_edited_or_deleted(tmp_path: Path) -> None:
    file = write(tmp_path / "mine.py", "x = 1\n")
    (copy,) = keep_copies([file], tmp_path / "plugins")
    file.write_text("x = 2\n")
    assert keep_copies([file], tmp_path / "plugins") == [copy]
    file.unlink()
    assert keep_copies([file], tmp_path / "plugins") == [copy]
    assert keep_copies([copy], tmp_path / "plugins") == [copy]
    assert copy.read_text() == "x = 1\n"


def test_a_read_only_file_is_copied(tmp_path: Path) -> None:
    file = write(tmp_path / "mine.py", "x = 1\n")
    file.chmod(0o444)
    (copy,) = keep_copies([file], tmp_path / "plugins")
    copy.write_text("the owner may edit and delete a copy")


def test_two_files_of_one_name_are_refused_and_nothing_is_copied(tmp_path: Path) -> None:
    files = [write(tmp_path / folder / "mine.py", f"x = '{folder}'\n") for folder in ("a", "b")]
    with pytest.raises(RequestError, match=r"a/mine\.py and .*b/mine\.py have one name: rename one of them"):
        keep_copies(files, tmp_path / "plugins")
    assert not (tmp_path / "plugins").exists()
    assert keep_copies([files[0], files[0]], tmp_path / "plugins") == [tmp_path / "plugins" / "mine.py"] * 2


def test_a_file_that_cannot_be_copied_is_named_and_leaves_no_draft(tmp_path: Path) -> None:
    with pytest.raises(RequestError, match=r"gone\.py: the scratch plugin cannot be copied to .*: No such file"):
        keep_copies([tmp_path / "gone.py"], tmp_path / "plugins")
    assert list((tmp_path / "plugins").iterdir()) == []
    (tmp_path / "file").touch()
    with pytest.raises(RequestError, match=r"mine\.py: the scratch plugin cannot be copied to .*: (Not a|File exists)"):
        keep_copies([write(tmp_path / "mine.py", "")], tmp_path / "file")


@pytest.mark.parametrize(
    ("now", "changes"),
    [
        (STARTED, []),
        ({**STARTED, "more.py": "sha256:cccccccccccc"}, []),
        ({**STARTED, "undertow-cells": "0.2.0"}, ["undertow-cells: 0.1.0 at the start, 0.2.0 now"]),
        ({"undertow-cells": "0.1.0"}, ["mine.py: sha256:aaaaaaaaaaaa at the start, not loaded now"]),
        (
            {"undertow-cells": "", "mine.py": "sha256:bbbbbbbbbbbb"},
            [
                "mine.py: sha256:aaaaaaaaaaaa at the start, sha256:bbbbbbbbbbbb now",
                "undertow-cells: 0.1.0 at the start, unknown now",
            ],
        ),
    ],
    ids=["same", "more", "upgraded", "removed", "edited"],
)
def test_changed_code_names_each_plugin_with_both_versions(now: dict[str, str], changes: list[str]) -> None:
    assert changed_code(STARTED, now) == changes


def test_a_plugin_without_a_version_at_the_start_is_compared_too() -> None:
    assert changed_code({"odd": ""}, {"odd": ""}) == []
    assert changed_code({"odd": ""}, {"odd": "1.0"}) == ["odd: unknown at the start, 1.0 now"]


def test_other_code_is_refused_with_the_option_that_allows_it() -> None:
    require_same_code(STARTED, STARTED, "the run lstm-T64-s0")
    require_same_code({}, STARTED, "a run of an earlier version, which recorded no plugin")
    with pytest.raises(RequestError) as caught:
        require_same_code(STARTED, {**STARTED, "mine.py": "sha256:bbbbbbbbbbbb"}, "the run lstm-T64-s0")
    assert str(caught.value).splitlines() == [
        "the run lstm-T64-s0 was started with other code than is here now:",
        "  mine.py: sha256:aaaaaaaaaaaa at the start, sha256:bbbbbbbbbbbb now",
        "Restore that code, or continue with today's: --allow-changed-code",
    ]
