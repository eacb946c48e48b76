"""Runnable experiments, one per file: a function ``study()`` that returns a :class:`nas.Study`."""
