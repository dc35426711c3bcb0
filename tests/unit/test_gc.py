"""The garbage collector of a process that imports large libraries."""

import subprocess
import sys


def test_no_object_is_left_to_collect_at_the_end() -> None:
    code = """
        import atexit, gc
        atexit.register(lambda: print(gc.get_freeze_count() > 1000))
        from undertow._system.gc import collect_rarely
        collect_rarely()
    """
    lines = [line.strip() for line in code.strip().splitlines()]
    assert subprocess.run([sys.executable, "-c", "\n".join(lines)], capture_output=True, text=True).stdout == "True\n"


def test_a_collection_waits_for_many_new_objects() -> None:
    code = "import gc; from undertow._system.gc import collect_rarely; collect_rarely(); print(gc.get_threshold()[0])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert int(done.stdout) >= 10_000
