"""Systems that the project does not run on get one message."""

import subprocess
import sys

import pytest
from paths import ROOT


@pytest.mark.parametrize("script", ["study/run.py", "study/status.py", "study/fetch.py"])
def test_on_windows_a_command_says_how_to_get_wsl2(script, tmp_path):
    program = (
        "import runpy, sys; sys.platform = 'win32'; sys.modules['fcntl'] = None\n"
        f"sys.argv = [{script!r}, 'demo']; runpy.run_path({str(ROOT / script)!r}, "
        "run_name='__main__')"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, cwd=tmp_path
    )
    assert done.returncode == 2
    assert done.stdout == ""
    assert "wsl --install -d Ubuntu-24.04" in done.stderr
    assert "Traceback" not in done.stderr
