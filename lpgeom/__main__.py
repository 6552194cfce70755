"""``python -m lpgeom`` is the command line."""

import sys

from lpgeom.cli import main

if __name__ == "__main__":
    sys.exit(main())
