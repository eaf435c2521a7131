"""Where the files of a study lie, in its folder and beside it: each name here, and nowhere else.

STORAGE/               the folder of all studies
  NAME/                one study
    journal.jsonl      what happened, the only truth
    lock               who runs the study (`karat.journal.lock`)
    orders             the pause file: what the driver tells its workers (`karat.training.pause`)
    trials/0001/       checkpoints of a trial, and hang.txt: where its process hung
    report.html, report.md, report/
    sync.log, sync.lock
  mlflow.db, mlruns/   MLflow's, where there is no server
  probes.json          what probes have measured (`karat.forecast.predictions`)
"""

from pathlib import Path

JOURNAL = "journal.jsonl"
LOCK = "lock"
PAUSE_FILE = "orders"
TRIALS = "trials"
HANG_TRACE = "hang.txt"
REPORT_HTML, REPORT_MARKDOWN = "report.html", "report.md"
FIGURES = "report"
SYNC_LOG, SYNC_LOCK = "sync.log", "sync.lock"
MLFLOW_DATABASE, MLFLOW_FILES = "mlflow.db", "mlruns"
PROBES = "probes.json"


def trial_folder(study: Path, number: int) -> Path:
    """The folder of a trial's checkpoints, there or not.

    Args:
        study: the study's folder.
        number: the trial's.
    """
    return study / TRIALS / f"{number:04d}"


def mlflow_files(study: Path) -> Path:
    """Where MLflow keeps what the runs of a study have logged, if no server does."""
    return study.parent / MLFLOW_FILES / study.name


def beside(study: Path) -> list[Path]:
    """What stands beside a study's folder and is written for it too: MLflow's, as far as it is there."""
    databases = study.parent.glob(f"{MLFLOW_DATABASE}*")  # SQLite's journal has a suffix
    return [*databases, study.parent / MLFLOW_FILES]
