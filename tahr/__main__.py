"""`python -m tahr` is the `tahr` command."""

from __future__ import annotations

import sys

from tahr.cli import main

if __name__ == "__main__":
    sys.exit(main())
