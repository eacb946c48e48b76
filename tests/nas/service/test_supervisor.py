from __future__ import annotations

from pathlib import Path

import pytest
from service_fakes import FakeChild

from nas.files import write_json
from nas.service.problems import Problem
from nas.service.settings import Settings
from nas.service.store import Run, Store
from nas.service.supervisor import Supervisor


class World:
    """Processes and time as a test wants them."""

    def __init__(self, store: Store, settings: Settings) -> None:
        self.store, self.settings = store, settings
        self.time = 100.0
        self.children: list[FakeChild] = []
        self.left_behind: dict[Path, FakeChild] = {}
        self.supervisor = self.another()

    def another(self) -> Supervisor:
        return Supervisor(
            self.store, self.settings, start=self.start, find=self.left_behind.get, now=lambda: self.time
        )

    def start(self, command: list[str], directory: Path, storage: str | None) -> FakeChild:
        self.children.append(FakeChild(command, directory, storage))
        return self.children[-1]

    def submit(self, device: str = "cpu", changes: dict[str, object] | None = None) -> Run:
        return self.supervisor.submit("tiny", changes or {}, evaluations=6, device=device, token_id="ann")

    def state(self, run: Run) -> str:
        found = self.store.run(run.id)
        assert found is not None
        return found.state

    def end(self, code: int | None) -> None:
        self.children[-1].end(code)
        self.supervisor.step()


@pytest.fixture
def world(store: Store, tmp_path: Path) -> World:
    return World(
        store,
        Settings(
            folder=tmp_path,
            devices=("cpu", "cuda:0", "ray:10.0.0.1:6379", "cuda@ray:auto"),
            restarts=2,
            restart_after_s=1,
        ),
    )


def test_a_run_is_started_and_finishes(world: World) -> None:
    run = world.submit()
    assert run.state == "queued"
    world.supervisor.step()
    assert world.state(run) == "running"
    world.end(0)
    assert world.state(run) == "finished"
    assert len(world.children) == 1


def test_the_command_holds_what_was_changed(world: World) -> None:
    changes = {"evaluations": 9, "seed": 3, "objectives": ["accuracy", "macs"], "constraints": {"macs": 2e6}}
    run = world.submit("cuda:0", {**changes, "device": "cuda:0"})
    world.supervisor.step()
    directory = str(world.settings.runs / run.id)
    assert world.children[0].command[1:] == [
        *["-m", "nas", "run", "tiny", "--out", directory, "--evaluations=9", "--seed=3", "--device=cuda:0"],
        *["--objective=accuracy", "--objective=macs", "--constraint=macs=2000000.0"],
    ]


@pytest.mark.parametrize(
    ("device", "said"),
    [
        ("cuda:0", ["--device=cuda:0"]),
        ("cpu", []),
        ("ray:10.0.0.1:6379", ["--ray=10.0.0.1:6379"]),
        ("cuda@ray:auto", ["--device=cuda", "--ray=auto"]),
    ],
)
def test_a_run_trains_where_it_takes_its_place(world: World, device: str, said: list[str]) -> None:
    world.submit(device)
    world.supervisor.step()
    assert [word for word in world.children[0].command if word.startswith(("--device", "--ray"))] == said


def test_one_runs_per_device_and_the_others_queue(world: World) -> None:
    first, second, other = world.submit(), world.submit(), world.submit("cuda:0")
    world.supervisor.step()
    assert [world.state(r) for r in (first, second, other)] == ["running", "queued", "running"]
    world.children[0].end(0)
    world.supervisor.step()
    assert [world.state(r) for r in (first, second)] == ["finished", "running"]


def test_a_crash_is_restarted_so_many_times_and_then_shown(world: World) -> None:
    run = world.submit()
    world.supervisor.step()
    for restart in (1, 2):
        world.end(-11)
        assert world.state(run) == "queued"
        stored = world.store.run(run.id)
        assert stored is not None
        assert (stored.restarts, stored.last_words) == (restart, "last words")
        world.time += 10
        world.supervisor.step()
        assert world.state(run) == "running"
    world.end(1)
    assert world.state(run) == "failed"
    stored = world.store.run(run.id)
    assert stored is not None
    assert stored.last_words == "last words"
    assert len(world.children) == 3


def test_a_restart_waits_longer_each_time_and_lets_others_go_first(world: World) -> None:
    crashing, other = world.submit(), world.submit()
    world.supervisor.step()
    world.end(1)
    assert [world.state(crashing), world.state(other)] == ["queued", "running"]


def test_a_users_mistake_is_shown_and_not_tried_again(world: World) -> None:
    run = world.submit()
    world.supervisor.step()
    world.end(2)
    assert world.state(run) == "failed"
    world.time += 100
    world.supervisor.step()
    assert len(world.children) == 1


def test_pause_and_resume(world: World) -> None:
    run = world.submit()
    world.supervisor.step()
    assert world.supervisor.act(run, "pause").intent == "paused"
    assert world.children[0].asked == ["stop"]
    world.end(143)
    assert world.state(run) == "paused"
    world.supervisor.act(run, "resume")
    world.supervisor.step()
    assert world.state(run) == "running"
    assert world.children[0].command == world.children[1].command


def test_whoever_doesnt_stop_is_killed(world: World) -> None:
    run = world.submit()
    world.supervisor.step()
    world.supervisor.act(run, "cancel")
    world.time += world.settings.grace_s + 1
    world.supervisor.step()
    world.supervisor.step()
    assert world.children[0].asked == ["stop", "kill"]
    assert world.state(run) == "cancelled"


def test_what_is_queued_stops_at_once(world: World) -> None:
    world.submit()
    paused, cancelled = world.submit(), world.submit()
    world.supervisor.step()
    world.supervisor.act(paused, "pause")
    world.supervisor.act(cancelled, "cancel")
    assert [world.state(paused), world.state(cancelled)] == ["paused", "cancelled"]
    assert len(world.children) == 1


@pytest.mark.parametrize(
    ("state", "action"),
    [("finished", "pause"), ("finished", "cancel"), ("finished", "resume"), ("cancelled", "resume")],
)
def test_what_makes_no_sense_is_refused(world: World, state: str, action: str) -> None:
    run = world.submit()
    world.store.change_run(run.id, state=state)
    with pytest.raises(Problem, match=f"is {state}") as problem:
        world.supervisor.act(run, action)  # type: ignore[arg-type]
    assert problem.value.status == 409
    assert world.state(run) == state


def test_a_run_that_was_stopping_finishes_when_it_was_done_anyway(world: World) -> None:
    run = world.submit()
    world.supervisor.step()
    world.supervisor.act(run, "pause")
    world.end(0)
    assert world.state(run) == "finished"


def test_the_end_of_the_service_leaves_runs_for_the_next_one(world: World) -> None:
    run = world.submit()
    world.supervisor.step()
    world.supervisor.end()
    assert world.children[0].asked == ["stop"]
    world.end(143)
    assert world.state(run) == "running"
    world.supervisor = world.another()
    world.supervisor.take_up()
    world.supervisor.step()
    assert world.state(run) == "running"
    assert len(world.children) == 2


def test_a_process_that_outlived_the_service_is_watched_and_not_doubled(world: World) -> None:
    run = world.submit()
    world.supervisor.step()
    directory = world.settings.runs / run.id
    world.left_behind[directory] = world.children[0]
    world.supervisor = world.another()
    world.supervisor.take_up()
    world.supervisor.step()
    assert len(world.children) == 1
    write_json(directory / "status.json", {"stage": "done"})
    world.children[0].end(None)  # not our child: nobody knows its exit code
    world.supervisor.step()
    assert world.state(run) == "finished"


def test_a_process_that_outlived_the_service_and_crashed_is_restarted(world: World) -> None:
    run = world.submit()
    world.supervisor.step()
    world.left_behind[world.settings.runs / run.id] = world.children[0]
    world.supervisor = world.another()
    world.supervisor.take_up()
    world.children[0].end(None)
    world.supervisor.step()
    assert world.state(run) == "queued"


@pytest.mark.parametrize("lives", [True, False])
def test_a_pause_under_way_survives_the_service(world: World, lives: bool) -> None:
    run = world.submit()
    world.supervisor.step()
    world.supervisor.act(run, "pause")
    if lives:
        world.left_behind[world.settings.runs / run.id] = world.children[0]
    world.supervisor = world.another()
    world.supervisor.take_up()
    if lives:
        assert world.children[0].asked == ["stop", "stop"]
        world.end(None)
    assert world.state(run) == "paused"


def test_a_run_that_finished_while_no_service_was_there(world: World) -> None:
    run = world.submit()
    world.supervisor.step()
    write_json(world.settings.runs / run.id / "status.json", {"stage": "done"})
    world.supervisor = world.another()
    world.supervisor.take_up()
    assert world.state(run) == "finished"


def test_a_run_that_somebody_stopped_from_outside_is_paused(world: World) -> None:
    run = world.submit()
    world.supervisor.step()
    world.end(143)
    assert world.state(run) == "paused"


def test_a_device_that_is_gone(world: World) -> None:
    run = world.submit("cuda:9")
    world.supervisor.step()
    assert world.state(run) == "failed"
    assert not world.children


def test_a_process_that_cant_be_started(store: Store, tmp_path: Path) -> None:
    def start(command: list[str], directory: Path, storage: str | None) -> FakeChild:
        raise OSError(28, "No space left on device")

    supervisor = Supervisor(store, Settings(folder=tmp_path), start=start, find=lambda _: None)
    run = supervisor.submit("tiny", {}, evaluations=6, device="cpu", token_id="ann")
    supervisor.step()
    stored = store.run(run.id)
    assert stored is not None
    assert stored.state == "failed"
    assert "No space left" in str(stored.last_words)
