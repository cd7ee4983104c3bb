"""What a study found: reads result files only, and needs neither Ray nor torch."""
