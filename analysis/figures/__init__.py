"""The figures of the report, as PNG."""
