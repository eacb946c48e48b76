"""A study that lets only its seed be changed."""

from fakes import tiny_study

from nas import Study


def study() -> Study:
    return tiny_study(name="strict", changeable=("seed",))
