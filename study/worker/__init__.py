"""The part of a study that runs in a Ray worker: one trial."""
