"""What a pod runs before it ends: jobs are stopped, and waited for."""

from dataclasses import dataclass, field

from jobs.ray.stop_jobs import stop_jobs


@dataclass
class Status:
    asked: int = 0
    patient: int = 2  # times that it is asked before it has ended
    stopped: bool = False

    def is_terminal(self) -> bool:
        self.asked += self.stopped
        return self.asked > self.patient


@dataclass
class Job:
    submission_id: str | None
    status: Status


@dataclass
class Client:
    jobs: list[Job]
    stopped: list[str] = field(default_factory=list)

    def list_jobs(self) -> list[Job]:
        return self.jobs

    def stop_job(self, job: str) -> None:
        self.stopped.append(job)
        self.get_job_status(job).stopped = True

    def get_job_status(self, job: str) -> Status:
        return next(each.status for each in self.jobs if each.submission_id == job)


def test_running_jobs_are_stopped_and_waited_for() -> None:
    ended, running = Status(asked=9), Status()
    driver = Job(None, Status())  # connected by hand, no job of the Jobs API
    client = Client([Job("done", ended), Job("running", running), driver])
    assert stop_jobs(client) == ["running"]
    assert client.stopped == ["running"]
    assert running.is_terminal()


def test_job_that_does_not_end_is_given_up_in_time() -> None:
    client = Client([Job("stuck", Status(patient=1000))])
    assert stop_jobs(client, patience_s=0.6) == ["stuck"]
