"""Makes the README's pictures from a real study.

    python study/run.py --space demo.yaml | tee console.txt
    python docs/pictures/make.py results/demo console.txt

``console.svg`` shows the beginning and the end of what the study printed. ``report.png`` is the top
of its report in a browser (Chromium or Chrome must be installed).
"""

import argparse
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from rich.console import Console
from rich.text import Text

FOLDER = Path(__file__).resolve().parent
BROWSERS = ("chromium", "chromium-browser", "google-chrome")
WIDTH, HEIGHT = 1200, 900  # pixels of the report's picture
COLUMNS, FIRST, LAST = 112, 34, 34  # of the console: width, lines at the beginning and the end


def console_picture(text: str, path: Path) -> None:
    """Write the first and the last lines of ``text`` as SVG."""
    lines = text.replace(str(Path.home()), "~").rstrip().splitlines()
    if len(lines) > FIRST + LAST:
        lines = [*lines[:FIRST], "...", *lines[-LAST:]]
    with open("/dev/null", "w") as nowhere:
        console = Console(record=True, width=COLUMNS, file=nowhere, highlight=False)
        for line in ["$ python study/run.py --space demo.yaml", *lines]:
            console.print(Text.from_ansi(line[:COLUMNS]))
    console.save_svg(str(path), title="python study/run.py --space demo.yaml")
    # Without its fonts, which a page would have to fetch: readers have one of their own.
    path.write_text(re.sub(r"@font-face {.*?}", "", path.read_text(), flags=re.DOTALL))


def report_picture(page: Path, path: Path) -> None:
    """Write the top of the report as PNG."""
    browser = next((found for name in BROWSERS if (found := shutil.which(name))), None)
    if browser is None:
        raise SystemExit(f"needs one of {', '.join(BROWSERS)}")
    with tempfile.TemporaryDirectory() as profile:
        command = [
            browser, "--headless", "--disable-gpu", "--no-sandbox", "--hide-scrollbars",
            "--disable-background-networking", "--disable-component-update", "--disable-sync",
            "--no-first-run", f"--user-data-dir={profile}", f"--window-size={WIDTH},{HEIGHT}",
            f"--screenshot={path}", page.resolve().as_uri(),
        ]  # fmt: skip
        subprocess.run(command, check=True, capture_output=True)


def main() -> int:
    """Run the command; returns its exit status."""
    parser = argparse.ArgumentParser(description="Make the README's pictures from a real study.")
    parser.add_argument("results", type=Path, help="folder of the study, with its report")
    parser.add_argument("console", type=Path, help="file with what the study printed")
    options = parser.parse_args()
    console_picture(options.console.read_text(), FOLDER / "console.svg")
    report_picture(options.results / "report" / "report.html", FOLDER / "report.png")
    return 0


if __name__ == "__main__":
    sys.exit(main())
