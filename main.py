"""The program from a checkout: `python main.py` is `stt-studio`."""

import sys

from app.cli import main

if __name__ == "__main__":
    sys.exit(main())
