"""The `llmkit` command begins here, and nothing else does: `python -m llmkit` is `llmkit`.

Until `main` is there to report it, Ctrl-C ends the process as the system ends one: without a traceback.
"""

import signal

if signal.getsignal(signal.SIGINT) is signal.default_int_handler:  # else it is ignored, as in the background
    signal.signal(signal.SIGINT, signal.SIG_DFL)

from llmkit.cli import main

if __name__ == "__main__":
    main()
