"""Formats sizes and times for people."""


def size_text(size: int) -> str:
    """A size in bytes, such as ``345.1 MB``."""
    value, unit = float(size), "B"
    for larger in ("kB", "MB", "GB", "TB"):
        if value < 1000:
            break
        value, unit = value / 1000, larger
    return f"{value:.1f} {unit}" if unit != "B" else f"{size} B"


def age_text(seconds: float) -> str:
    """A duration as its largest whole unit, such as ``3 days``."""
    for unit, length in (("day", 86_400.0), ("hour", 3600.0), ("minute", 60.0)):
        count = int(seconds / length)
        if count:
            return f"{count} {unit}{'s' * (count > 1)}"
    return "moments"


def clock_time(seconds: float) -> str:
    """A duration such as 02:05 or 1:02:05."""
    minutes, second = divmod(int(seconds), 60)
    hours, minute = divmod(minutes, 60)
    return f"{hours}:{minute:02}:{second:02}" if hours else f"{minute:02}:{second:02}"


def rough_time(seconds: float) -> str:
    """A rough duration such as 40 s, 12 min or 3.5 h."""
    if seconds < 90:
        return f"{max(10, round(seconds, -1)):.0f} s"
    if seconds < 90 * 60:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h"
