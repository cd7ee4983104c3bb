"""Makes the README's pictures from a real run of the demo, which takes about two minutes.

    python docs/pictures/make.py

``console.svg`` shows the beginning and the end of what the study prints in a terminal.
``report.png`` is the top of its report in a browser (Chromium or Chrome must be installed).
"""

import fcntl
import os
import pty
import re
import shutil
import struct
import subprocess
import sys
import tempfile
import termios
from pathlib import Path

import pyte
from rich.console import Console
from rich.text import Text

FOLDER = Path(__file__).resolve().parent
ROOT = FOLDER.parents[1]
COMMAND = "python study/run.py --space demo.yaml"
BROWSERS = ("chromium", "chromium-browser", "google-chrome")
WIDTH, HEIGHT = 1200, 900  # pixels of the report's picture
COLUMNS, FIRST, LAST = 100, 38, 44  # of the console: width, lines at the beginning and the end
_MOST_LINES = 2000


def run_in_terminal(command: list[str]) -> list[str]:
    """Run a command in a terminal of its own; returns the lines that are there at the end."""
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 50, COLUMNS, 0, 0))
    screen = pyte.Screen(COLUMNS, _MOST_LINES)
    stream = pyte.ByteStream(screen)
    environment = {**os.environ, "TERM": "xterm", "COLUMNS": str(COLUMNS)}
    process = subprocess.Popen(
        command, stdin=slave, stdout=slave, stderr=slave, cwd=ROOT, env=environment
    )
    os.close(slave)
    while True:
        try:
            data = os.read(master, 65_536)
        except OSError:  # the other end is closed
            break
        if not data:
            break
        stream.feed(data)
    if process.wait():
        raise SystemExit("\n".join(line.rstrip() for line in screen.display).rstrip())
    lines = [line.rstrip() for line in screen.display]
    while not lines[-1]:
        lines.pop()
    return lines


def console_picture(lines: list[str], path: Path) -> None:
    """Write the first and the last lines as SVG."""
    if len(lines) > FIRST + LAST:
        lines = [*lines[:FIRST], "...", *lines[-LAST:]]
    with open("/dev/null", "w") as nowhere:
        console = Console(record=True, width=COLUMNS, file=nowhere, highlight=False)
        for line in [f"$ {COMMAND}", *lines]:
            console.print(Text(line))
    console.save_svg(str(path), title=COMMAND)
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
    """Run the demo and make the pictures; returns the exit status."""
    with tempfile.TemporaryDirectory() as folder:
        results, cache = Path(folder) / "results", Path(folder) / "cache"
        os.environ["FOCUSNET_CACHE"] = str(cache)
        lines = run_in_terminal([sys.executable, *COMMAND.split()[1:], f"--results={results}"])
        # As it is where the command was given, and for every user.
        shown = [
            line.replace(str(results), "results").replace(str(cache), "~/.cache/focusnet")
            for line in lines
        ]
        console_picture(shown, FOLDER / "console.svg")
        report = [sys.executable, "analysis/report.py", str(results / "demo")]
        subprocess.run(report, cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
        report_picture(results / "demo" / "report" / "report.html", FOLDER / "report.png")
    return 0


if __name__ == "__main__":
    sys.exit(main())
