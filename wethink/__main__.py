"""`python -m wethink <stage>`: each stage of the DAG, and a few commands for people.

Imports nothing heavy: `--help` answers at once. A user's mistake prints one sentence and exits 2.
"""

import sys

from wethink.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
