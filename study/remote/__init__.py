"""Runs studies whose results are at an fsspec address such as ``s3://``."""
