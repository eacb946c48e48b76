"""Surrogate-assisted multi-objective search as an Optuna sampler."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from functools import partial
from typing import final

import numpy as np
from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState

from nas.search.models.calibration import widening
from nas.search.models.cost_model import CostModel
from nas.search.models.designs import draw_balanced_designs
from nas.search.models.guided import draw_guided_designs
from nas.search.models.informed import InformedSurrogate
from nas.search.models.proposals import History, any_fresh, fresh, history_of, others
from nas.search.models.sources import Sources
from nas.search.models.stand_alone import expect_alone, stand_alone_values
from nas.search.record.credibility import credible
from nas.search.record.trials import keep_prediction, store_source_values, with_later
from nas.search.strategies.ahead import Ahead
from nas.search.strategies.architecture_sampler import ArchitectureSampler
from nas.search.strategies.batch import Picker, ProposalBatch
from nas.search.strategies.beside import Make, Take
from nas.space import FloatArray, IntArray
from nas.strategy import MakeSurrogate, Problem, Surrogate

logger = logging.getLogger(__name__)

_MIN_TO_FIT = 4
"""Fewer trials teach a surrogate nothing; ``docs/strategies.md`` measures starts of 4 to 20."""
_GROWTH = 4
"""A fit follows a quarter more trials, while these are fewer than a whole batch: measured in ``docs/strategies.md``."""


@final
class SurrogateSampler(ArchitectureSampler):
    """Fits a surrogate to the finished trials and proposes what should add most to the front.

    The first proposals are random designs in which all options are equally frequent. Then, batch after batch:
    the surrogate learns the measured objectives; NSGA-II (Deb 2002) searches the space on optimistic
    predictions and exact counted objectives, away from what was seen, within the hard constraints; of its last
    population and the front's neighbours those are proposed that are expected to add most hypervolume, over
    joint draws of the surrogate. With three objectives or more the regions of the front take turns, and every fourth
    proposal is a random architecture that the surrogate predicts to be good. Otherwise too optimistic predictions at
    one end of the front would draw the whole search there.

    If the problem has sources of knowledge, architectures that they predict to be good are among the first designs, and
    the model weighs the sources (:mod:`nas.search.models.informed`). If the study holds the quality of architectures
    that were trained on their own, the surrogate learns the quality that all are expected to reach in this way.

    There is no state besides the study: proposals depend on the seed, the trial's number and the other trials alone. A
    batch depends on a fixed number of the first finished trials and on nothing later, so a search that is killed and
    resumed goes on as if it had not been killed. If several evaluations run at a time, their order is not fixed anyway.
    Then a batch depends on all trials that are finished or running when its computation begins. It is computed in a
    thread, and proposals come from the batch before it until it is ready, so that no evaluation waits for a fit.

    Args:
        problem: What is searched.
        surrogate: Makes an untrained surrogate.
        seed: Seed of designs, surrogate and NSGA-II.
        num_startup: Finished trials before the first fit.
        batch_size: Finished trials between two fits, at most.
    """

    def __init__(
        self,
        problem: Problem,
        surrogate: MakeSurrogate,
        *,
        seed: int,
        num_startup: int,
        batch_size: int,
    ) -> None:
        super().__init__(problem, seed)
        self._surrogate = surrogate
        self._sources = Sources(problem, surrogate)
        self._num_startup = num_startup
        # What is promised is followed early, and checked by designs that take turns with it.
        is_guided = self._sources.promise_costs
        self._num_designs = max(num_startup // 2 if is_guided else num_startup, _MIN_TO_FIT)
        self._batch_size = batch_size
        self._batch: tuple[object, ProposalBatch] | None = None
        self._ahead: Ahead | None = None
        self._num_due = 0
        self._doubted: set[int] = set()
        self._made_designs: dict[int, IntArray] = {}

    def to_make(self, study: Study, in_flight: int) -> Make | None:
        """Return the computation of the next batch, once enough trials have finished since the last one.

        Proposals come from the newest batch that is ready; until there is one, from designs.
        """
        if self._ahead is None:
            self._ahead = Ahead(self._problem, self._designs(max(in_flight, self._num_startup)))
        trials = with_later(study, study.get_trials(deepcopy=False))
        num_finished = sum(trial.state == TrialState.COMPLETE for trial in trials)
        if num_finished < max(self._num_due, self._num_designs - in_flight, _MIN_TO_FIT):
            return None
        # Counted from now, and not from when the batch is made: trials that end meanwhile count for the next one.
        self._num_due = num_finished + self._size_of_batch(num_finished)
        alone = stand_alone_values(study)
        return partial(self._make, self._ahead, trials, alone, in_flight)

    def _make(
        self, ahead: Ahead, trials: Sequence[FrozenTrial], alone: Mapping[int, float], in_flight: int
    ) -> Take:
        running = history_of(self._problem, [t for t in trials if not t.state.is_finished()])
        count = len(history_of(self._problem, trials).finished)
        if count < _MIN_TO_FIT:  # others hold values that are no numbers
            return lambda: None
        rng = np.random.default_rng([self._seed, count])
        batch = self._propose(trials, running, alone, rng, 2 * max(self._batch_size, in_flight))
        predicted = batch.describe_predictions()
        return lambda: ahead.take(batch.rows, predicted, count, batch.widening)

    def propose(self, study: Study, trial: FrozenTrial) -> IntArray | None:
        """Return the best-ranked architecture of the batch that no other trial holds."""
        if self._ahead is not None:
            row = self._ahead.propose(study, trial, np.random.default_rng([self._seed, trial.number]))
            return self._note_sources(study, trial, row)
        trials = others(study, trial)
        history = history_of(self._problem, trials)
        count = self._count_used(len(history.finished))
        if count < self._num_designs or self._takes_turns(history, trial.number):
            row = self._design(history, trial.number)
        else:
            batch = self._batch_after(history, count, trials, stand_alone_values(study))
            rows = fresh(self._problem, batch.rows, history.seen)
            row = rows[0] if len(rows) else self._any(history, trial.number)
            if row is not None:
                keep_prediction(study, trial, batch.describe_prediction(row), count, batch.widening)
        return self._note_sources(study, trial, row)

    def _note_sources(self, study: Study, trial: FrozenTrial, row: IntArray | None) -> IntArray | None:
        if row is not None and self._sources.all:
            store_source_values(study, trial, self._sources.ask(row))
        return row

    def _count_used(self, num_finished: int) -> int:
        """Return how many finished trials the present batch depends on."""
        used = self._num_designs
        while (after := used + self._size_of_batch(used)) <= num_finished:
            used = after
        return min(used, num_finished)

    def _size_of_batch(self, num_finished: int) -> int:
        return min(self._batch_size, max(1, num_finished // _GROWTH))

    def _designs(self, count: int) -> IntArray:
        if count not in self._made_designs:
            rng = np.random.default_rng([self._seed, 0])
            is_guided = self._sources.promise_costs
            self._made_designs[count] = (
                draw_guided_designs(self._problem, self._sources, count, rng)
                if is_guided
                else draw_balanced_designs(self._problem, count, rng)
            )
        return self._made_designs[count]

    def _takes_turns(self, history: History, number: int) -> bool:
        """Whether a design is due although a model is there."""
        is_turn = self._sources.promise_costs and number % 2 == 1
        return is_turn and len(fresh(self._problem, self._designs(self._num_startup), history.seen)) > 0

    def _design(self, history: History, number: int) -> IntArray | None:
        rows = fresh(self._problem, self._designs(self._num_startup), history.seen)
        return np.asarray(rows[0]) if len(rows) else self._any(history, number)

    def _any(self, history: History, number: int) -> IntArray | None:
        return any_fresh(self._problem, history.seen, np.random.default_rng([self._seed, number]))

    def _batch_after(
        self, history: History, count: int, trials: Sequence[FrozenTrial], alone: Mapping[int, float]
    ) -> ProposalBatch:
        """Return the batch that depends on ``count`` finished trials; the last one is cached."""
        # Later trials are not looked at, though some are there already: a resumed search couldn't tell which were there
        # when the batch was made first.
        horizon = history.numbers[count - 1]
        earlier = [t for t in trials if t.number <= horizon]
        running = [t for t in earlier if not t.state.is_finished()]
        content = (
            history.finished[:count].tobytes(),
            history.costs[:count].tobytes(),
            len(earlier),
            tuple(t.number for t in running),
            tuple(alone.items()),
        )
        if self._batch is None or self._batch[0] != content:
            rng = np.random.default_rng([self._seed, count])
            made = self._propose(
                earlier, history_of(self._problem, running), alone, rng, 2 * self._batch_size
            )
            self._batch = content, made
        return self._batch[1]

    def _propose(
        self,
        earlier: Sequence[FrozenTrial],
        running: History,
        alone: Mapping[int, float],
        rng: np.random.Generator,
        num_picked: int,
    ) -> ProposalBatch:
        """Compute the batch that depends on some trials.

        Args:
            earlier: The trials.
            running: What is being evaluated.
            alone: Quality that architectures reached on their own, by trial number.
            rng: Draws all that is random.
            num_picked: How many to pick; others follow behind them.
        """
        problem, known = self._problem, history_of(self._problem, earlier)
        measured = self._credible(known)
        costs = expect_alone(problem, alone, known.numbers, known.finished, measured)
        model = CostModel(problem, self._make_surrogate(), known.finished, costs, rng)
        teachers = set(known.numbers.tolist())
        factors = widening(problem.objectives, [t for t in earlier if t.number in teachers])
        # An evaluation doesn't check what the model then says of the quality, so it is not kept with the trial.
        told = model.measured if costs is measured else [c for c in model.measured if c != 0]
        rows = Picker(problem, model, known, costs, rng).pick(running, num_picked)
        return ProposalBatch(problem, model, rows, told, factors)

    def _make_surrogate(self) -> Surrogate:
        surrogate = self._surrogate(self._problem.space)
        if not self._sources.all:
            return surrogate
        return InformedSurrogate(self._problem.space, surrogate, self._sources)

    def _credible(self, known: History) -> FloatArray:
        costs = credible(known.costs)
        for number in known.numbers[(costs != known.costs).any(axis=1)]:
            if number not in self._doubted:
                logger.warning(
                    "trial %d has values too good to be true: taken for the worst there are", number
                )
                self._doubted.add(number)
        return costs
