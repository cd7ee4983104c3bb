"""The results folder as the record of a study: which trials exist and how they ended."""
