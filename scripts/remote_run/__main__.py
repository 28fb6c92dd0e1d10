"""Pack, run or take: `python scripts/remote_run --help`."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from remote_run.main import main

if __name__ == "__main__":
    sys.exit(main())
