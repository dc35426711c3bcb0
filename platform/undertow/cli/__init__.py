"""The command line: a thin face over functions that Python can call as well.

    undertow run experiments/smoke/digits.yaml --set cell.name=gru

Each command is a plain function in the module of its noun, named in `app` as an import string, so that only the module
of the command that runs is ever imported: `undertow --help` waits neither for torch nor for MLflow.

Exit codes: 0 done, 1 the work failed, 2 the request was wrong, 130 stopped by Ctrl-C. What was asked for goes to
standard output, everything else to standard error; with ``--json`` standard output holds one JSON object and nothing
else, also when it is an error.
"""

import os
import sys
from collections.abc import Sequence

from undertow._system.gc import skip_final_collection
from undertow.errors import UndertowError


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command.

    Args:
        arguments: Words after ``undertow``; those of this process when None.

    Returns:
        The exit code.
    """
    skip_final_collection()
    from cyclopts.exceptions import CycloptsError

    from undertow.cli.app import app
    from undertow.cli.output.console import fail

    words = list(sys.argv[1:] if arguments is None else arguments)
    as_json = "--json" in words
    try:
        code = app(words, result_action="return_value")
        sys.stdout.flush()
        return code if isinstance(code, int) else 0
    except CycloptsError as error:
        return fail(
            f"{error} See `undertow {'' if not error.command_chain else ' '.join(error.command_chain) + ' '}--help`.",
            2,
            as_json=as_json,
        )
    except UndertowError as error:
        return fail(str(error), error.exit_code, as_json=as_json)
    except KeyboardInterrupt:
        return fail("stopped by Ctrl-C", 130, as_json=as_json)
    except BrokenPipeError:  # the reader, `head` for one, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except Exception as error:
        if as_json:
            fail(f"{type(error).__name__}: {error}", 1, as_json=True)
        raise
