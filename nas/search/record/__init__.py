"""The Optuna study as the record of a search."""
