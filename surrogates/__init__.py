"""Surrogates (= performance predictors), one per file. Add your own: see ``README.md`` beside this file."""
