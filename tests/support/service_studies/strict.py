"""A study that lets only its seed be changed, and learns nothing from earlier runs."""

from fakes import tiny_study

from nas import OptunaSampler, Study


def study() -> Study:
    return tiny_study(name="strict", changeable=("seed",), strategy=OptunaSampler("RandomSampler"))
