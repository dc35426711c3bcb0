"""``python -m undertow.cli``: the command line where the console script is not in PATH."""

import sys

from undertow.cli import main

if __name__ == "__main__":
    sys.exit(main())
