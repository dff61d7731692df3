"""`python -m marginseal.cli`: the command, without a console script."""

from __future__ import annotations

from marginseal.cli.main import main

if __name__ == "__main__":
    main()
