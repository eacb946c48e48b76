"""What the API takes and gives, for OpenAPI and for checking requests."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, JsonValue, TypeAdapter

from nas.choices import Option
from nas.devices.states import DeviceState
from nas.objective import Direction, Measurement, Objective
from nas.report.results import Original, Variant
from nas.service.store import Role, State
from nas.strategy import MAX_SEED

Name = Annotated[str, Field(max_length=100)]


class _Given(BaseModel):
    """What we give: later versions may add members."""

    model_config = ConfigDict(extra="allow")


class StudyObjective(_Given):
    """An objective of a study in the catalogue."""

    name: str
    unit: str
    direction: Direction
    counted: bool = Field(description="Exact and free, so that it can also be limited.")


class QuantityModel(_Given):
    """A quantity that a constraint may be put on."""

    name: str
    unit: str
    at_most: float | None = Field(description="The study's own limit.")


class Defaults(_Given):
    """What a study is started with unless told otherwise; null in one that can't be used."""

    evaluations: int | None = None
    seed: int | None = None
    device: str | None = None


class Needs(_Given):
    """What a study is about; empty in one that can't be used."""

    data: str = ""
    intended_use: str = ""


class StudyModel(_Given):
    """A study of the operator's."""

    name: str
    title: str
    objectives: list[StudyObjective]
    constraints: list[QuantityModel]
    defaults: Defaults
    changeable: list[str]
    devices: list[str] = Field([], description="Where it may train.")
    needs: Needs
    uses_knowledge: bool = Field(False, description="Whether earlier runs can tell it where to look.")
    error: str | None = Field(description="Why it can't be used; null if it can.")


class DeviceModel(_Given):
    """A device that the operator named, and how it is at the moment; null or empty is what isn't told."""

    url: str
    state: str = Field(description="ready, busy, too warm, away or refused.")
    sentence: str = Field(description="Why it is away or refuses.")
    name: str = ""
    processor: str = ""
    machine: str = ""
    cores: int | None = None
    onnxruntime: str = ""
    agent: str = ""
    temperature_c: float | None = None
    clock_mhz: int | None = None

    @classmethod
    def of(cls, found: DeviceState) -> DeviceModel:
        """Describe a device."""
        facts = {} if found.facts is None else asdict(found.facts)
        facts |= facts.pop("state", {})
        told = {name: facts[name] for name in cls.model_fields if name in facts}
        return cls.model_validate(told | {"url": found.url, "state": found.word, "sentence": found.sentence})


CATALOGUE = TypeAdapter(list[StudyModel])


class Changes(BaseModel):
    """What to change in a study."""

    model_config = ConfigDict(extra="forbid", strict=True)
    evaluations: int | None = Field(None, ge=1, le=1_000_000)
    seed: int | None = Field(None, ge=0, le=MAX_SEED)
    device: Annotated[str, Field(max_length=40)] | None = Field(
        None, description="One of the study's devices."
    )
    objectives: list[Name] | None = Field(
        None, max_length=32, description="Those to keep; the first of the study's must be among them."
    )
    constraints: dict[Name, Annotated[float, Field(allow_inf_nan=False)]] | None = Field(
        None, max_length=32, description="Largest value by name of a quantity; hard where it is counted."
    )
    prior: list[Annotated[str, Field(max_length=120)]] | None = Field(
        None, max_length=8, description="Earlier runs of the same choices that tell where to look, by id."
    )


class NewRun(Changes):
    """A study to start, and what to change in it."""

    study: Name = Field(description="A name from /studies.")


class Evaluations(_Given):
    """How many evaluations were spent."""

    complete: int
    failed: int
    asked: int


class Predictions(_Given):
    """How good the surrogate's predictions of an objective were, each made before its trial was evaluated."""

    objective: str
    num_trials: int
    kendall_tau: float | None = Field(description="Null where predictions or values are all equal.")
    rmse: float = Field(description="In the objective's unit.")


class Refit(_Given):
    """The same since one of the surrogate's latest refits."""

    name: str
    predictions: list[Predictions]


class Trust(_Given):
    """How far the search's numbers can be trusted."""

    predictions: list[Predictions] = Field(description="By measured objective.")
    refits: list[Refit] = Field(description="Oldest first.")
    rank_agreement: float | None = Field(
        description="Kendall's tau of the search's order with that after a training of their own; null before the end, "
        "and without a supernet."
    )
    num_compared: int | None = Field(description="Of how many architectures.")


class RunModel(_Given):
    """A run and how it stands."""

    id: str
    study: str
    state: State
    stopping: bool = Field(description="It was told to pause or to end, and puts things down.")
    stage: str
    done: int
    total: int
    seconds_left: float | None = Field(description="In this stage, at its pace so far.")
    note: str
    created: str
    started: str | None
    finished: str | None
    restarts: int
    last_words: str | None = Field(description="The end of the log of a process that failed.")
    changes: dict[str, JsonValue]
    device: str
    objectives: Sequence[Objective]
    evaluations: Evaluations
    hypervolume: float | None
    surrogate: Trust | None = Field(description="Null while nothing is known.")
    has_winners: bool
    fault: str | None = Field(
        None, description="Why its files can't be read, so that nothing they hold is told; null if they can."
    )


class RunsPage(_Given):
    """Some runs, newest first."""

    runs: list[RunModel]
    next: int | None = Field(description="The cursor of the next page; null on the last one.")


class ValueModel(_Given):
    """A measurement."""

    model_config = ConfigDict(from_attributes=True)
    value: float
    spread: float
    unit: str


class TrialModel(_Given):
    """An evaluated architecture."""

    number: int
    architecture: str
    values: dict[str, ValueModel]
    choices: Mapping[str, Option]
    on_front: bool


class TrialsPage(_Given):
    """Some evaluated architectures, in the order in which they were finished."""

    objectives: Sequence[Objective]
    trials: list[TrialModel]
    position: int = Field(description="Trials up to here: what events want as after.")
    next: int | None = Field(description="The cursor of the next page; null when there is no more for now.")


class NewTrial(TrialModel):
    """An evaluated architecture, as its event tells it."""

    position: int = Field(description="Among the run's trials, from 0.")
    hypervolume: float | None = Field(description="After it.")


class FrontModel(_Given):
    """The front so far."""

    evaluations: int
    hypervolume: float | None
    objectives: Sequence[Objective]
    numbers: list[int]
    trials: list[TrialModel]


class HypervolumeModel(_Given):
    """The hypervolume after each evaluated architecture, as a multiple of the reference box."""

    hypervolume: list[float]


class LogModel(_Given):
    """The end of a run's log."""

    lines: list[str]


class FileModel(_Given):
    """A file of a winner."""

    name: str
    bytes: int


class WinnerModel(_Given):
    """A finished winner."""

    id: str
    trial: int
    choices: Mapping[str, Option]
    macs: int
    num_params: int
    predicted: float | None
    searched: Mapping[str, Measurement]
    fine_tuned: Measurement
    kept: Measurement | None = Field(
        description="Where fine-tuning made it worse: quality with its weights of the search, which were kept."
    )
    variants: Sequence[Variant]
    files: list[FileModel]


class WinnerCard(WinnerModel):
    """A winner with its model card."""

    card: str = Field(description="The model card, in markdown.")


class WinnersModel(_Given):
    """All winners of a run."""

    winners: list[WinnerModel]
    original: Sequence[Original] = Field(description="Empty where the study's network was not converted.")


class SignIn(BaseModel):
    """A token, to be exchanged for a cookie."""

    model_config = ConfigDict(extra="forbid", strict=True)
    token: str = Field(max_length=200)


class SessionModel(_Given):
    """Who is signed in."""

    name: str
    role: Role
