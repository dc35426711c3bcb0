"""The command line. Each command calls functions that Python code can call as well.

    undertow run experiments/smoke/digits.yaml --set cell.name=gru

Each command is a function in the module of its name in `commands`. `app` names it by an import string, so that only the
module of the command that runs is imported: `undertow --help` imports neither torch nor MLflow.

Exit codes: 0 done, 1 the work failed, 2 the request was wrong, 130 stopped by Ctrl-C. The result goes to standard
output, everything else to standard error: what plugins and the libraries that they call write to standard output too,
until the process ends. With ``--json``, standard output holds one JSON object and nothing else, also when the object
describes an error.
"""

import sys
from collections.abc import Sequence

from undertow._system.gc import collect_rarely
from undertow._system.stdout import real_stdout, stdout_to_stderr
from undertow.errors import UndertowError


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command.

    Args:
        arguments: The words after ``undertow``; those of this process when None.

    Returns:
        The exit code.
    """
    collect_rarely()
    from undertow.cli.output.console import escape_unencodable_output

    escape_unencodable_output()
    words = list(sys.argv[1:] if arguments is None else arguments)
    with stdout_to_stderr(restore=arguments is not None):
        return _main(words, as_json="--json" in words)


def _main(words: list[str], *, as_json: bool) -> int:
    from cyclopts.exceptions import CycloptsError

    from undertow.cli.app import app
    from undertow.cli.output.console import discard_output, fail, help_console

    try:
        code = app(words, result_action="return_value", console=help_console())
        real_stdout().flush()
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
    except BrokenPipeError:  # the process that reads the output, such as `head`, has ended
        discard_output()
        return 1
    except Exception as error:
        if as_json:
            fail(f"{type(error).__name__}: {error}", 1, as_json=True)
        raise
