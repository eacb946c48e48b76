"""Training: one loop for supernets, winners and networks from scratch; what a step does is an argument."""

from nas.training.batches import count_steps
from nas.training.distillation import (
    BalancedDistillation,
    CurriculumDistillation,
    Distillation,
    Hinton,
    Lesson,
)
from nas.training.loop import train
from nas.training.mixing import Batch, CutMix, Mix, Mixup
from nas.training.ranks import ALONE, Ranks, join_ranks
from nas.training.recipe import Recipe
from nas.training.steps import Losses, Step, distillation_step, make_supervised_step, prepare_batch
from nas.training.watching import Watcher

__all__ = [
    "ALONE",
    "BalancedDistillation",
    "Batch",
    "CurriculumDistillation",
    "CutMix",
    "Distillation",
    "Hinton",
    "Lesson",
    "Losses",
    "Mix",
    "Mixup",
    "Ranks",
    "Recipe",
    "Step",
    "Watcher",
    "count_steps",
    "distillation_step",
    "join_ranks",
    "make_supervised_step",
    "prepare_batch",
    "train",
]
