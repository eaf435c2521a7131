"""Names of the files of a study, in its folder and beside it; no other module spells them.

STORAGE/               the folder of all studies
  NAME/                one study
    journal.jsonl      all events; everything else follows from them
    lock               names the process that runs the study (`karat.journal.lock`)
    orders             the pause file: asks the workers to pause (`karat.training.pause`)
    weights/           copies of the weights that trials start from (`model.init_from`)
    trials/0001/       checkpoints of a trial, and hang.txt: stack traces of a hung process
    report.html, report.md, and in report/ figures, arms.csv, pairs.csv, trials.csv, table.tex
    analyses/          what analyses found: a folder for each, with results, tables and pictures, and
                       chapter.json, which the report shows
    sync.log, sync.lock
  mlflow.db, mlruns/   of MLflow, if no server is used
  probes.json          measurements of probes (`karat.forecast.predictions`)
"""

from pathlib import Path

JOURNAL = "journal.jsonl"
LOCK = "lock"
PAUSE_FILE = "orders"
TRIALS = "trials"
WEIGHTS = "weights"
HANG_TRACE = "hang.txt"
REPORT_HTML, REPORT_MARKDOWN = "report.html", "report.md"
FIGURES = "report"  # the folder of figures and tables
ARMS_CSV, PAIRS_CSV, TRIALS_CSV, TABLE_TEX = "arms.csv", "pairs.csv", "trials.csv", "table.tex"
REPORT_TABLES = (ARMS_CSV, PAIRS_CSV, TRIALS_CSV, TABLE_TEX)
ANALYSES, CHAPTER = "analyses", "chapter.json"
SYNC_LOG, SYNC_LOCK = "sync.log", "sync.lock"
MLFLOW_DATABASE, MLFLOW_FILES = "mlflow.db", "mlruns"
PROBES = "probes.json"


def trial_folder(study: Path, number: int) -> Path:
    """The folder of a trial's checkpoints; may not exist.

    Args:
        study: folder of the study.
        number: of the trial.
    """
    return study / TRIALS / f"{number:04d}"


def mlflow_files(study: Path) -> Path:
    """Folder of MLflow's artifacts of a study, if no server stores them."""
    return study.parent / MLFLOW_FILES / study.name


def beside(study: Path) -> list[Path]:
    """Existing files and the folder of MLflow beside a study's folder, which the study writes too."""
    databases = study.parent.glob(f"{MLFLOW_DATABASE}*")  # SQLite's journal has a suffix
    return [*databases, study.parent / MLFLOW_FILES]
