"""The project root and the working folder."""

from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]

WORK = Path(".wethink")  # scratch, locks, run records and logs; never an output, never in git
