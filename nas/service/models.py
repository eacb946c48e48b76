"""What the API takes and gives, for OpenAPI and for checking requests."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from nas.protocols import MAX_SEED
from nas.service.store import Role, State

Name = Annotated[str, Field(max_length=100)]


class _Given(BaseModel):
    """What we give: later versions may add members."""

    model_config = ConfigDict(extra="allow")


class ObjectiveModel(_Given):
    """A quantity to trade off."""

    name: str
    unit: str
    direction: Literal["minimize", "maximize"]


class StudyObjective(ObjectiveModel):
    """An objective of a study in the catalogue."""

    counted: bool = Field(description="Exact and free, so that it can also be limited.")


class QuantityModel(_Given):
    """A quantity that a constraint may be put on."""

    name: str
    unit: str
    at_most: float | None = Field(description="The study's own limit.")


class StudyModel(_Given):
    """A study of the operator's."""

    name: str
    title: str
    objectives: list[StudyObjective]
    constraints: list[QuantityModel]
    defaults: dict[str, Any] = Field(description="evaluations, seed and device.")
    changeable: list[str]
    devices: list[str] = Field(description="Where it may train.")
    needs: dict[str, Any]
    error: str | None = Field(description="Why it can't be used; null if it can.")


class NewRun(BaseModel):
    """A study to start, and what to change in it."""

    model_config = ConfigDict(extra="forbid", strict=True)
    study: Name = Field(description="A name from /studies.")
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


class Evaluations(_Given):
    """How many evaluations were spent."""

    complete: int
    failed: int
    asked: int


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
    changes: dict[str, Any]
    device: str
    objectives: list[ObjectiveModel]
    evaluations: Evaluations
    hypervolume: float | None
    surrogate: dict[str, Any] | None
    has_winners: bool


class RunsPage(_Given):
    """Some runs, newest first."""

    runs: list[RunModel]
    next: int | None = Field(description="The cursor of the next page; null on the last one.")


class ValueModel(_Given):
    """A measurement."""

    value: float
    spread: float
    unit: str


class TrialModel(_Given):
    """An evaluated architecture."""

    number: int
    architecture: str
    values: dict[str, ValueModel]
    choices: dict[str, Any]
    on_front: bool


class TrialsPage(_Given):
    """Some evaluated architectures, in the order in which they were finished."""

    objectives: list[ObjectiveModel]
    trials: list[TrialModel]
    position: int = Field(description="Trials up to here: what events want as after.")
    next: int | None = Field(description="The cursor of the next page; null when there is no more for now.")


class FrontModel(_Given):
    """The front so far."""

    evaluations: int
    hypervolume: float | None
    objectives: list[ObjectiveModel]
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


class VariantModel(_Given):
    """A winner in one form, as measured on its exported file."""

    name: str
    file: str
    values: dict[str, ValueModel]
    on_front: bool
    exceeds: list[str] = Field(description="Objectives whose soft limits it doesn't meet.")
    applied: list[str] = Field(description="What compression passes did to it, in order.")
    shipped: bool = Field(
        description="False where it is worse than the float32 file in every column that differs."
    )
    tied_with: list[str] = Field(
        description="Others of the front, as 'id name', that it can't be told from within a device's noise."
    )


class WinnerModel(_Given):
    """A finished winner."""

    id: str
    trial: int
    choices: dict[str, Any]
    macs: int
    num_params: int
    predicted: float | None
    searched: dict[str, ValueModel]
    fine_tuned: ValueModel
    kept: ValueModel | None = Field(
        description="Where fine-tuning made it worse: quality with its weights of the search, which were kept."
    )
    variants: list[VariantModel]
    files: list[FileModel]


class WinnerCard(WinnerModel):
    """A winner with its model card."""

    card: str = Field(description="The model card, in markdown.")


class OriginalModel(_Given):
    """The network that was converted, whole, measured like the winners."""

    state: str = Field(description="as given, or finished like the winners.")
    macs: int
    num_params: int
    variants: list[VariantModel] = Field(description="on_front: no variant of a winner dominates it.")


class WinnersModel(_Given):
    """All winners of a run."""

    winners: list[WinnerModel]
    original: list[OriginalModel] = Field(description="Empty where the study's network was not converted.")


class SignIn(BaseModel):
    """A token, to be exchanged for a cookie."""

    model_config = ConfigDict(extra="forbid", strict=True)
    token: str = Field(max_length=200)


class SessionModel(_Given):
    """Who is signed in."""

    name: str
    role: Role
