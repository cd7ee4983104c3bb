"""FocusNet for acoustic scene classification: the science of one trial, without Ray or Optuna."""

import sys

if sys.platform == "win32":
    # Windows has no locks that end with their process, and cannot sync the names in a folder.
    print(
        "This project runs on Linux, and on Windows in WSL2. In a terminal of Windows:\n"
        "  wsl --install -d Ubuntu-24.04\n"
        "then in Ubuntu, in the folder of this project:\n"
        "  sudo apt install -y python3-venv && python3 -m venv .venv && . .venv/bin/activate",
        file=sys.stderr,
    )
    sys.exit(2)
