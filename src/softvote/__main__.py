"""`python -m softvote`: the same program as the `softvote` command."""

import sys

from softvote.cli import main

sys.exit(main())
