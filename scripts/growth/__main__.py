"""Measure how the stages grow: `python scripts/growth --help`."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from growth.main import main

if __name__ == "__main__":
    sys.exit(main())
