"""`karat export`: a trial's model as safetensors, with its settings and a script that builds it."""

import argparse
from pathlib import Path

from karat.cli.command import Command
from karat.cli.exit_status import OK
from karat.cli.models.choice import chosen_trial, model_of, named
from karat.cli.studies.json_output import add_json, print_json
from karat.cli.studies.named import add_study, state_of, study_of
from karat.errors import InputError
from karat.models.config import OWN
from karat.terminal import make_console


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    add_study(parser)
    parser.add_argument(
        "trial",
        type=int,
        nargs="?",
        help="number of the trial; by default the one whose model the registry gets",
    )
    parser.add_argument(
        "--out", type=Path, metavar="FOLDER", help="where to write it (./STUDY-TRIAL)"
    )
    parser.add_argument("--force", action="store_true", help="replace files of an earlier export")
    add_json(parser)


def _export(options: argparse.Namespace) -> int:
    folder = study_of(options)
    state = state_of(folder)
    trial, why = chosen_trial(folder, state, options.trial)
    name = state.created["name"]
    if trial.config["model"].get("attention_from", OWN) != OWN:
        raise InputError(
            f"{folder}: trial {trial.number} has the attention of another model (model.attention_from), which the "
            "script of an export cannot build; `karat predict` and `karat evaluate` can"
        )
    out: Path = options.out or Path(f"{name}-{trial.number:04d}")
    _refuse(out, options.force)
    kept = model_of(folder, state, trial)
    from karat.cli.models.exported import exported_files
    from karat.system.files import replace_file
    from karat.tracking.models.tested_model import which_weights

    contents = exported_files(kept, state)
    out.mkdir(parents=True, exist_ok=True)
    for file, data in contents.items():
        replace_file(out / file, data)
    if options.json:
        print_json(
            "export",
            {
                "study": name,
                "trial": trial.number,
                "arm": trial.arm,
                "chosen": why,
                "folder": str(out),
                "files": [str(out / file) for file in contents],
            },
        )
        return OK
    console = make_console()
    console.print(f"{named(trial)}, {why}, with {which_weights(trial)}:", soft_wrap=True)
    for file in contents:
        console.print(f"    {out / file}", soft_wrap=True)
    console.print(f"next: python {out / 'load.py'} IMAGE...", soft_wrap=True)
    return OK


def _refuse(out: Path, force: bool) -> None:
    """Refuse to replace anything that nobody asked to replace.

    Raises:
        InputError: names the first such file.
    """
    from karat.cli.models.exported import FILES

    if out.exists() and not out.is_dir():
        raise InputError(f"--out {out}: is a file; name a folder")
    there = [out / file for file in FILES if (out / file).exists()]
    if there and not force:
        raise InputError(f"{there[0]}: exists; --force replaces it, --out names another folder")


EXPORT = Command(_add_arguments, _export)
