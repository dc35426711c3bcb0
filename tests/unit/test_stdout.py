"""Standard output for results alone: what is written to it by others, by any way, goes to standard error."""

import os
import subprocess
import sys
from textwrap import dedent

import pytest

from undertow._system.stdout import real_stdout, stdout_to_stderr

NOISE = """
def noise(word):
    import ctypes, os, subprocess, sys
    print(word, "python")
    os.write(1, f"{word} descriptor\\n".encode())
    ctypes.CDLL(None).printf(f"{word} C\\n".encode())  # a pipe: it stays in the buffer of the C library
    subprocess.run([sys.executable, "-c", f"print('{word} child')"])
"""
WAYS = ("python", "descriptor", "C", "child")


def run(body: str, *, before: str = "") -> tuple[list[str], list[str]]:
    """Run a script in a process of its own; returns the lines of standard output and standard error, sorted."""
    code = f"import os, sys\n{NOISE}\nfrom undertow._system.stdout import *\n{dedent(body)}"
    words = [sys.executable, "-c", code]
    if before:
        words = ["sh", "-c", f'exec "$@" {before}', "sh", *words]
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
    done = subprocess.run(words, capture_output=True, text=True, check=True, env=environment)
    return sorted(done.stdout.splitlines()), sorted(done.stderr.splitlines())


def noise(*words: str) -> list[str]:
    return sorted(f"{word} {way}" for word in words for way in WAYS)


def test_only_results_are_written_to_standard_output_and_it_is_restored() -> None:
    out, err = run("""
        noise("before")
        with stdout_to_stderr() as stdout:
            noise("inside")
            print("result é", file=stdout)
            with stdout_to_stderr() as same:
                assert same is stdout is real_stdout()
                noise("nested")
            noise("inside again")
        noise("after")
        assert real_stdout() is sys.stdout
    """)
    assert out == sorted([*noise("before", "after"), "result é"])
    assert err == noise("inside", "nested", "inside again")


def test_it_is_restored_after_an_exception() -> None:
    out, err = run("""
        try:
            with stdout_to_stderr():
                noise("inside")
                raise SystemExit
        except SystemExit:
            noise("after")
    """)
    assert (out, err) == (noise("after"), noise("inside"))


def test_without_restoring_nothing_follows_until_the_process_has_ended() -> None:
    out, err = run("""
        import atexit
        atexit.register(noise, "exit")
        with stdout_to_stderr(restore=False) as stdout:
            print("result", file=stdout)
        noise("after")
    """)
    assert (out, err) == (["result"], noise("after", "exit"))


@pytest.mark.parametrize("closed", ["1>&-", "1>&- 2>&-"])
def test_closed_descriptors_are_no_error(closed: str) -> None:
    out, _ = run(
        """
        with stdout_to_stderr() as stdout:
            os.write(1, b"inside")
            print("result", file=stdout, flush=True)
        try:
            os.write(1, b"after")
        except OSError:
            sys.exit(0)
        sys.exit("descriptor 1 is open")
        """,
        before=closed,
    )
    assert out == []


def test_a_file_that_has_the_number_of_a_closed_standard_output_is_left_alone() -> None:
    out, _ = run(
        """
        import tempfile
        with tempfile.TemporaryFile(buffering=0) as file:
            assert file.fileno() == 1
            with stdout_to_stderr() as stdout:
                print("result", file=stdout, flush=True)
                file.write(b"data")
            file.write(b"more")
            file.seek(0)
            assert file.read() == b"datamore"
        """,
        before="1>&-",
    )
    assert out == []


def test_no_child_process_gets_the_real_standard_output() -> None:
    """Else a pipe would stay open for as long as the shipper of a run lives."""
    out, err = run("""
        import subprocess
        with stdout_to_stderr() as stdout:
            code = "import os; print([each for each in os.listdir('/dev/fd') if int(each) > 2])"
            listed = subprocess.run([sys.executable, "-c", code], close_fds=False, capture_output=True, text=True)
            assert len(eval(listed.stdout)) <= 1, listed.stdout  # that of the folder itself
    """)
    assert (out, err) == ([], [])


def test_a_stream_that_does_not_write_to_the_descriptor_is_used_as_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    with stdout_to_stderr() as stdout:
        print("noise")
        print("result", file=stdout)
        assert real_stdout() is stdout
    assert capsys.readouterr() == ("result\n", "noise\n")
