"""When Python's collector is left out, and that it is back afterwards."""

import gc
import subprocess
import sys

import pytest

from undertow._system.gc import importing


@pytest.mark.parametrize("enabled", [True, False])
def test_the_collector_is_out_while_importing_and_then_as_it_was(enabled: bool) -> None:
    before = gc.isenabled()
    meanwhile = []

    def fail() -> None:
        with importing():
            meanwhile.append(gc.isenabled())
            raise ImportError

    try:
        (gc.enable if enabled else gc.disable)()
        with pytest.raises(ImportError):
            fail()
        assert meanwhile == [False]
        assert gc.isenabled() is enabled
    finally:
        (gc.enable if before else gc.disable)()


def test_what_is_left_behind_is_not_looked_through_at_the_end() -> None:
    code = """
        import atexit, gc
        atexit.register(lambda: print(gc.get_freeze_count() > 1000))
        from undertow._system.gc import skip_final_collection
        skip_final_collection()
    """
    lines = [line.strip() for line in code.strip().splitlines()]
    assert subprocess.run([sys.executable, "-c", "\n".join(lines)], capture_output=True, text=True).stdout == "True\n"
