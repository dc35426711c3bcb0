"""One crash: a command in a forked process that dies after its n-th change of the home, and the home that it leaves.

    workshop = Workshop(folder)
    crash = workshop.crash(template, command, at=17, mode="kill")
    crash.home                                   # what the next command finds
    crash.operations[-1]                         # "fsync /lstm-T256-s0-3fa9c1/outbox.jsonl"

The process must have been started with the library of `shim.c` (`run.py` does), and must have no threads.
"""

import ctypes
import os
import shutil
import struct
import sys
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

Mode = Literal["kill", "torn", "cut", "names"]
MODES: dict[Mode, str] = {
    "kill": "SIGKILL after the operation",
    "torn": "SIGKILL in the middle of a write; other operations are left out",
    "cut": "a power cut after the operation: what was not flushed is lost, names of files included",
    "names": "a power cut after the operation: contents that were not flushed are lost, names of files are kept",
}

_PATH = 4096
_LAYOUT = struct.Struct(f"{_PATH}s{_PATH}s{_PATH}s6q256q")
_COUNT = 3 * _PATH + 2 * 8  # where the number of operations is
SHIM = "UNDERTOW_CRASH_SHIM"
"""The variable that names the compiled library, in this process."""


@dataclass(frozen=True)
class Crash:
    """What a command has left.

    Attributes:
        home: The folder.
        operations: What was done to it, one line each, up to the crash.
        reached: Whether the crash happened; the command may have ended before.
        code: The command's exit code; negative for the signal that ended it.
        output: What it printed.
    """

    home: Path
    operations: list[str]
    reached: bool
    code: int
    output: str


class Workshop:
    """Makes crashes in a folder of its own, one at a time.

    Args:
        folder: On a file system with hard links, best one in memory.
    """

    def __init__(self, folder: Path) -> None:
        self.home = folder / "home"
        self._keep = folder / "kept"
        self._log = folder / "operations"
        self._control = folder / "control"
        self._output = folder / "output"
        self.modules = folder / "modules"

    def crash(self, template: Path | None, command: Callable[[Path], None], at: int, mode: Mode) -> Crash:
        """Run a command on a copy of a home, and crash it.

        Args:
            template: The home before; None for an empty one.
            command: Called with the home, in a forked process.
            at: The number of the operation after which it crashes; 0 for none.
            mode: See `MODES`.
        """
        for folder in (self.home, self._keep):
            shutil.rmtree(folder, ignore_errors=True)
        if template is None:
            self.home.mkdir()
        else:
            shutil.copytree(template, self.home)
        self._log.unlink(missing_ok=True)
        power_cut = mode in ("cut", "names")
        if power_cut:
            self._keep_all()
        paths = [os.fsencode(path) for path in (self.home, self._keep if power_cut else "", self._log)]
        self._control.write_bytes(_LAYOUT.pack(*paths, at, mode == "torn", *[0] * (4 + 256)))
        code = self._fork(command, armed=True)
        operations = self._log.read_text().splitlines() if self._log.exists() else []
        reached = bool(at) and len(operations) >= at
        if reached and power_cut:
            self._cut_power(names_are_kept=mode == "names")
        return Crash(
            self.home, [line.partition(" ")[2] for line in operations], reached, code, self._output.read_text()
        )

    def call(self, command: Callable[[Path], None]) -> tuple[int, str]:
        """Run a command on the home as it is; returns its exit code and what it printed."""
        return self._fork(command, armed=False), self._output.read_text()

    def _fork(self, command: Callable[[Path], None], *, armed: bool) -> int:
        """Run it in a forked process, and wait for all processes that come from it."""
        end, alive = os.pipe()  # every process of the command has the writing end
        if (pid := os.fork()) == 0:
            os.close(end)
            os.set_inheritable(alive, True)
            os._exit(self._be_command(command, armed))
        os.close(alive)
        _, status = os.waitpid(pid, 0)
        while os.read(end, 1):
            pass
        os.close(end)
        return os.waitstatus_to_exitcode(status)

    def _be_command(self, command: Callable[[Path], None], armed: bool) -> int:
        code = 1
        try:
            output = os.open(self._output, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
            os.dup2(output, 1)
            os.dup2(output, 2)
            os.chdir(self.home)
            os.environ["UNDERTOW_HOME"] = str(self.home)
            if armed:
                ctypes.CDLL(os.environ[SHIM]).shim_begin(os.fsencode(self._control))
            command(self.home)
            self.modules.write_text("\n".join(sys.modules))
            code = 0
        except BaseException:  # noqa: BLE001  (a forked process must not return into the code of its parent)
            os.write(2, traceback.format_exc().encode())
        return code

    # What has reached the disk, as `shim.c` keeps it.

    def _keep_all(self) -> None:
        """Everything that is there at the start has reached the disk."""
        for kind in ("data", "names", "links"):
            (self._keep / kind).mkdir(parents=True)
        for folder, folders, files in os.walk(self.home):
            entries = [Path(folder, name) for name in (*folders, *files)]
            lines = [f"{each.stat().st_ino} {'d' if each.is_dir() else 'f'} {each.name}\n" for each in entries]
            (self._keep / "names" / str(Path(folder).stat().st_ino)).write_text("".join(lines))
            for each in entries:
                if each.is_file():
                    shutil.copyfile(each, self._keep / "data" / str(each.stat().st_ino))
                    (self._keep / "links" / str(each.stat().st_ino)).hardlink_to(each)

    def _cut_power(self, *, names_are_kept: bool) -> None:
        """Replace the home by what a power cut would leave of it."""
        after = self.home.with_name("after")
        shutil.rmtree(after, ignore_errors=True)
        if names_are_kept:
            self._restore_contents(after)
        else:
            self._restore(self.home.stat().st_ino, after)
        shutil.rmtree(self.home)
        after.rename(self.home)

    def _restore(self, folder: int, to: Path) -> None:
        to.mkdir()
        names = self._keep / "names" / str(folder)
        for line in names.read_text().splitlines():
            inode, kind, name = line.split(" ", 2)
            if kind == "d":
                self._restore(int(inode), to / name)
            else:
                self._restore_file(int(inode), to / name)

    def _restore_contents(self, after: Path) -> None:
        for folder, _, files in os.walk(self.home):
            to = after / Path(folder).relative_to(self.home)
            to.mkdir()
            for name in files:
                self._restore_file(Path(folder, name).stat().st_ino, to / name)

    def _restore_file(self, inode: int, to: Path) -> None:
        content = self._keep / "data" / str(inode)
        if content.exists():
            shutil.copyfile(content, to)
        else:
            to.touch()
