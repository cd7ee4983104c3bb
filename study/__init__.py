"""The Ray Tune study around focusnet's trial; the command is study/run.py."""
