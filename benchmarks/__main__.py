import signal
import sys

from benchmarks.run_all import main

if __name__ == "__main__":
    # Benchmarks run in their own sessions, so they end only if this process unwinds.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    sys.exit(main())
