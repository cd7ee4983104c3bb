"""Files that a study writes beside its ledger: tables, provenance, curves, Optuna storage."""
