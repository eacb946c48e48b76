"""The tiny study.

More about it than a title.
"""

from fakes import tiny_study

from nas import Constraint, NumParams, Recipe, Study


def study() -> Study:
    learns = Recipe(
        epochs=8, batch_size=16, learning_rate=0.03
    )  # a front of several, which the page is to show
    return tiny_study(recipe=learns, constraints=(Constraint(NumParams(), 1e6),))
