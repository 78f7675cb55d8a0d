"""``python -m torpydo`` is the ``torpydo`` command."""

import sys

from torpydo.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
