"""`python -m valetkey` is the command `valetkey`; nothing else may be here."""

import sys

from valetkey.cli.main import main

sys.exit(main())
