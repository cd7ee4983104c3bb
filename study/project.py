"""The root folder of this project's files."""

from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
