import signal
import sys

from benchmarks.run_all import main

if __name__ == "__main__":
    # What is measured has a session of its own: it ends only if this unwinds.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    sys.exit(main())
