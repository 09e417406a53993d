"""``python -m gansep`` is the ``gansep`` command."""

import sys

from gansep.cli import main

sys.exit(main())
