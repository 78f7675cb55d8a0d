"""``python -m torpydo`` and the script ``torpydo``: the command is loaded here, and a Ctrl-C meanwhile just ends it."""

import signal
import sys
from importlib import import_module


def main() -> int:
    """Load the command and run it.

    :returns: the exit status
    """
    # Nothing is open yet, and what Python does instead is a traceback. Who was told to ignore Ctrl-C goes on doing so.
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    status: int = import_module("torpydo.cli.main").main()
    return status


if __name__ == "__main__":
    sys.exit(main())
