"""Measure this machine's GPU: `python scripts/gpu_benchmark --help`."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from gpu_benchmark.main import main

if __name__ == "__main__":
    sys.exit(main())
