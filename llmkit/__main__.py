"""The `llmkit` command begins here, and nothing else does: `python -m llmkit` is `llmkit`.

Until `main` is there to report it, Ctrl-C ends the process as the system ends one: without a traceback.
"""

import os
import signal

# A thread of PyTorch's that waits for the next region spins for microseconds and then sleeps; libgomp reads
# this once, at `import torch`. Its own 300,000 turns are right for whoever has all cores alone: beside one
# other busy process, two threads become several times slower than one (tests/bench/README.md).
if not {"OMP_WAIT_POLICY", "GOMP_SPINCOUNT"} & os.environ.keys():
    os.environ["GOMP_SPINCOUNT"] = "300"

if signal.getsignal(signal.SIGINT) is signal.default_int_handler:  # else it is ignored, as in the background
    signal.signal(signal.SIGINT, signal.SIG_DFL)

from llmkit.cli import main

if __name__ == "__main__":
    main()
