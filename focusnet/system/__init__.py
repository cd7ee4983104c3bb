"""Files, locks, processes, devices and logs: nothing here knows of acoustic scenes."""
