"""Search strategies, a file for each: what a study names, and the Optuna sampler that it makes."""
