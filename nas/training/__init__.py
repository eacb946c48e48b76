"""Training: one loop for supernets, winners and networks from scratch; what a step does is an argument."""

from nas.training.loop import Losses, Step, cross_entropy_step, train
from nas.training.ranks import ALONE, Ranks, joined_ranks
from nas.training.recipe import Recipe

__all__ = ["ALONE", "Losses", "Ranks", "Recipe", "Step", "cross_entropy_step", "joined_ranks", "train"]
