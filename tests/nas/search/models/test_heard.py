from __future__ import annotations

import optuna
from earlier_runs import grid_knowledge, told
from fakes import NearestSurrogate, grid_evaluate, grid_problem

from nas.search import SurrogateSearch
from nas.search.loop import search
from nas.search.models.heard import source_sentences

OURS = SurrogateSearch(NearestSurrogate, num_startup=8, batch_size=4)


def test_what_sources_said_is_kept_with_trials_and_told() -> None:
    problem = grid_problem()
    rows, values = grid_knowledge(problem)
    problem = told(problem, values, rows)
    study = optuna.create_study(
        directions=[o.direction for o in problem.objectives], sampler=OURS.sampler(problem, 0)
    )
    search(study, problem, lambda a: grid_evaluate(problem, a), evaluations=14, on_trial=lambda _: None)
    [sentence] = source_sentences(problem, study.trials)
    assert sentence.startswith(f"earlier ({len(rows)} architectures) on quality: Spearman ")
    assert "14 trials measured, weight" in sentence
