"""Training: one loop for supernets, winners and networks from scratch; what a step does is an argument."""

from nas.training.loop import train
from nas.training.ranks import ALONE, Ranks, joined_ranks
from nas.training.recipe import Recipe
from nas.training.steps import Losses, Step, distillation_step, supervised_step

__all__ = [
    "ALONE",
    "Losses",
    "Ranks",
    "Recipe",
    "Step",
    "distillation_step",
    "joined_ranks",
    "supervised_step",
    "train",
]
