"""The garbage collector at the end of a process."""

import subprocess
import sys


def test_no_object_is_left_to_collect_at_the_end() -> None:
    code = """
        import atexit, gc
        atexit.register(lambda: print(gc.get_freeze_count() > 1000))
        from undertow._system.gc import skip_final_collection
        skip_final_collection()
    """
    lines = [line.strip() for line in code.strip().splitlines()]
    assert subprocess.run([sys.executable, "-c", "\n".join(lines)], capture_output=True, text=True).stdout == "True\n"
