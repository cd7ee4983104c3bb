"""The terminal side of a study: options, progress, status, summary, errors."""
