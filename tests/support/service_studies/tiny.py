"""The tiny study.

More about it than a title.
"""

from fakes import tiny_study

from nas import Constraint, NumParams, Study


def study() -> Study:
    return tiny_study(constraints=(Constraint(NumParams(), 1e6),))
