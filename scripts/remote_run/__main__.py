"""Pack, run or take: `python scripts/remote_run --help`."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
sys.path.insert(1, str(Path(__file__).resolve().parents[2] / "src"))

from remote_run.main import main

if __name__ == "__main__":
    sys.exit(main())
