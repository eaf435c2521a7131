"""Hostile files and names are refused at once, in one line, before any slow import."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from karat.cli.launch import launch
from karat.errors import InputError
from karat.space.overrides import read_question
from karat.space.reader import load_space
from karat.space.yaml_reader import MAX_BYTES, MAX_VALUES
from tests.conftest import ROOT, SMALL
from tests.costs import finished, peak_bytes, times_of

WriteSpace = Callable[..., Path]
Refusal = Callable[[Callable[[], object]], str]
MOST_MB = 50
# Relative to reading the largest valid file to its end; the largest measured ratio was 1.1.
MOST_TIMES = 2.0

BOMB = "\n".join(
    ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    + [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]" for i in range(1, 12)]
)
FILES = {
    "alias bomb": (BOMB, "anchors and aliases"),
    "python tag": ("a: !!python/object/apply:os.system ['touch owned']", "the tag"),
    "plain tag": ("a: !!float '1:30'", "the tag"),
    "local tag": ("a: !include /etc/passwd", "the tag"),
    "merge key": ("a: {<<: {b: 1}}", "merge keys (<<) are not allowed"),
    "duplicate key": ("study: a\nstudy: b", "'study' is given twice"),
    "deep flow": ("[" * 30_000, "nested deeper than 12 levels"),
    "deep block": ("- " * 15_000, "nested deeper than 12 levels"),
    "deep keys": ("? " * 15_000, "nested deeper than 12 levels"),
    "10 MB": ("a: 1\n" * 2_000_000, "larger than 32768 bytes"),
    "10 MB of one word": ("x" * 10_000_000, "larger than 32768 bytes"),
    "million digits": ("seed: 1" + "0" * 1_000_000, "larger than 32768 bytes"),
    "many digits": ("seed: 1" + "0" * 30_000, "a number of more than 64 digits"),
    "many decimals": ("seed: 1." + "0" * 30_000, "a number of more than 64 digits"),
    "huge exponent": ("seed: 1e999999999", "numbers must be finite"),
    "huge key": ("? " + "k" * 30_000 + "\n: 1", "at most 100 characters"),
    "key over the terminal": ('"\\e[2J\\nok": 1', "a key must be printable"),
    "NUL": ("a: \0", "not valid YAML"),
    "escaped NUL": ('study: "a\\0b"', "control characters"),
    "half a character": ('study: "\\uD800"', "control characters"),
    "many values": ("a: [" + "a," * 15_000 + "]", "more than 2000 keys and values"),
    "many keys": ("\n".join(f"k{i}: 1" for i in range(3000)), "more than 2000 keys and values"),
    "many documents": ("---\n" * 8000, "a second document begins"),
    "only line ends": ("\n" * 32_000, "must contain `key: value` lines"),
    "one long word": ("x" * 32_000, "must contain `key: value` lines"),
    "empty": ("", "must contain `key: value` lines"),
}
NAMES = [
    *("../../etc", "a/b", "/etc", ".", "..", "CON", "x" * 64, "", " ", "a b", "a\nb", "a\n"),
    *("-rf", "_x", "a.b", "a\\b", "a\0b", "ѕmall", "ｓmall", "a²", "٣", "a\u202eb", "$(id)", "mlruns"),
]  # fmt: skip


def assert_process_refuses(*arguments: str, message: str) -> None:
    found = finished("launch.py", *arguments)
    assert found.status == 2, found
    assert message in found.error
    assert len(found.error.splitlines()) == 1
    assert found.error.rstrip("\n").isprintable()
    assert found.foreign <= {"yaml"}
    assert found.memory_mb < MOST_MB


@pytest.fixture(scope="module")
def honest(tmp_path_factory: pytest.TempPathFactory) -> Callable[[], object]:
    """Read a valid file with the largest allowed number of values."""
    path = tmp_path_factory.mktemp("honest") / "space.yaml"
    path.write_text(f"study: honest\nlist: [{'a,' * (MAX_VALUES - 5)}]\n")
    return lambda: read_question(path, [], None)


@pytest.fixture
def refusal(honest: Callable[[], object]) -> Refusal:
    """The message with which a call refuses, in little memory and no more time than the right take."""

    def refuse(call: Callable[[], object]) -> str:
        messages = []

        def caught() -> None:
            with pytest.raises(InputError) as error:
                call()
            messages.append(str(error.value))

        assert times_of(caught, honest, MOST_TIMES) < MOST_TIMES
        assert peak_bytes(caught) < MOST_MB * 2**20
        return messages[-1]

    return refuse


@pytest.mark.parametrize("kind", ["alias bomb", "python tag", "10 MB", "many values", "deep flow"])
def test_process_refuses_a_hostile_file(tmp_path: Path, kind: str) -> None:
    text, message = FILES[kind]
    path = tmp_path / "space.yaml"
    path.write_text(text)
    assert_process_refuses("--space", str(path), message=message)
    assert not (ROOT / "owned").exists()


@pytest.mark.parametrize("kind", FILES)
def test_reader_refuses_a_hostile_file(tmp_path: Path, kind: str, refusal: Refusal) -> None:
    text, message = FILES[kind]
    path = tmp_path / "space.yaml"
    path.write_text(text)
    assert_refused(path, message, refusal)


def test_file_is_read_no_further_than_its_limit(tmp_path: Path) -> None:
    path = tmp_path / "space.yaml"
    path.touch()
    os.truncate(path, 2**40)  # a sparse file of a terabyte
    for read in (lambda: read_question(path, [], None), lambda: load_space(path)):
        before = bytes_read()
        with pytest.raises(InputError, match=f"larger than {MAX_BYTES} bytes"):
            read()
        assert bytes_read() - before < 2 * MAX_BYTES


def bytes_read() -> int:
    """Return the number of bytes that this process has read so far."""
    lines = dict(line.split(": ") for line in Path("/proc/self/io").read_text().splitlines())
    return int(lines["rchar"])


def test_process_refuses_a_path_that_is_not_a_file(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path in (str(tmp_path / "pipe"), "/dev/zero", "/dev/stdin"):
        assert_process_refuses("--space", path, message=f"{path}: is a pipe or a device")
    assert_process_refuses("--space", str(tmp_path), message="is a folder")
    assert_process_refuses("--space", str(tmp_path / "a\nb"), message="a\\nb: cannot be read")


def test_bytes_that_are_not_text_are_refused(tmp_path: Path, refusal: Refusal) -> None:
    path = tmp_path / "space.yaml"
    path.write_bytes(b"study: \xff\xfe")
    assert_refused(path, "not UTF-8 text (byte 7)", refusal)


@pytest.mark.parametrize("name", ["../../etc", "-rf", "ѕmall"])
def test_process_refuses_a_hostile_name(write_space: WriteSpace, name: str) -> None:
    space = str(write_space())
    assert_process_refuses("--space", space, f"--name={name}", message="--name: study = ")
    assert_process_refuses("--space", space, "--set", f"study={name!r}", message="study = ")


@pytest.mark.parametrize("name", NAMES)
def test_hostile_name_is_refused_wherever_it_stands(
    write_space: WriteSpace, tmp_path: Path, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    storage = tmp_path / "studies"
    space = write_space()
    assert launch(["--space", str(space), "--storage", str(storage), f"--name={name}"]) == 2
    quoted = "".join(f"\\U{ord(c):08x}" for c in name)
    space.write_text(SMALL.replace("study: small", f'study: "{quoted}"'))
    assert launch(["--space", str(space), "--storage", str(storage)]) == 2
    for line in capsys.readouterr().err.splitlines():
        assert line.startswith("error: ")
        assert line.isprintable()
    assert not storage.exists()


def test_look_alike_is_shown_by_its_code_point(write_space: WriteSpace) -> None:
    with pytest.raises(InputError, match=r"'ѕ' is U\+0455, not one of a to z"):
        read_question(write_space(), [], "ѕmall")


@pytest.mark.parametrize(
    ("assignment", "message"),
    [
        ("training.epochs", "must be KEY=VALUE"),
        ("=3", "must be KEY=VALUE"),
        ("seed=" + "1" * 5000, "a number of more than 64 digits"),
        ("seed=" + "[" * 5000, "nested deeper than"),
        ("question=" + "x" * 100_000, "larger than 32768 bytes"),
        ("seed=&a [*a]", "anchors and aliases"),
        ("study=../x", "--set study=../x: study = '../x'"),
    ],
)
def test_hostile_assignment_is_refused_in_a_short_line(
    write_space: WriteSpace, assignment: str, message: str, refusal: Refusal
) -> None:
    path = write_space()
    found = refusal(lambda: read_question(path, [assignment], None))
    assert message in found
    assert len(found) < 300


@pytest.fixture(scope="module")
def loaded() -> None:
    """Import everything before the measurements, which are not about imports."""
    import timm

    import karat.models.transfer  # noqa: F401

    timm.list_models()


def factors_of(count: int, levels: int) -> str:
    keys = [f"training.x{i}" for i in range(count)]
    return "".join(f"  {key}: {list(range(1, levels + 1))}\n" for key in keys)


def chain_of_conditions(count: int) -> str:
    """Return factors of which each depends on all factors before it."""
    lines, above = ["  model.x0: [1]\n"], ["model.x0: 1"]
    for i in range(1, count):
        lines.append(f"  model.x{i}: {{values: [1], when: {{{', '.join(above)}}}}}\n")
        above.append(f"model.x{i}: 1")
    return "".join(lines)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("name: vit_micro", "name: 'local-dir:/etc'", "model.name = 'local-dir:/etc': unknown"),
        ("name: vit_micro", "name: 'hf-hub:x/y'", "model.name = 'hf-hub:x/y': unknown"),
        ("name: vit_micro", "name: ../../vit_tiny", "model.name = '../../vit_tiny': unknown"),
        ("name: vit_micro", f"name: {'vit_tiny_patch' * 1500}", "unknown"),
        ("name: vit_micro", f"name: vit_tiny_patch{'1' * 5000}_224x", "unknown"),
        ("depth: 1", "depth: 1000000000000", "model.depth = 1000000000000: must be at most 1000"),
        ("patch_size: 4", f"patch_size: 1{'0' * 60}", "must be at most 4096"),
        ("{name: digits}", "{name: image_folder, root: ../../etc}", "without .."),
        ("{name: digits}", "{name: cifar10, root: /data/../etc}", "without .."),
        ("{name: digits}", "{name: ../digits}", "data.name = '../digits': unknown"),
        ("{name: digits}", "{name: _cifar, root: /}", "data.name = '_cifar': unknown"),
        ("recipe: quick", "recipe: ../quick", "training.recipe = '../quick': unknown"),
        ("epochs: 4", "epochs: 1000000000", "training.epochs = 1000000000: must be at most"),
        ("epochs: 4", "epochs: 4, workers: 100000", "training.workers = 100000: must be at most"),
        ("sampler: tpe", "sampler: ../tpe", "search.sampler = '../tpe': unknown"),
        ("trials: 6", "trials: 1000000000000", "search.trials = 1000000000000: must be at most"),
        ("seeds: 2", "seeds: 1000000000000", "confirm.seeds = 1000000000000: must be at most"),
        ("reduction_factor: 3", "reduction_factor: 1.0000001", "must be at least 1.1"),
        ("tuned:\n", factors_of(3, 20) + "tuned:\n", "at most 6,000 arms can be"),
        ("tuned:\n", factors_of(4, 300) + "tuned:\n", "at most 6,000 arms can be"),
        ("tuned:\n", factors_of(60, 1) + "tuned:\n", "has 62 parameters; at most 50"),
        ("tuned:\n", chain_of_conditions(40) + "tuned:\n", "unknown key"),
        ("tuned:\n", f"{factors_of(1, 200)}tuned:\n  training.clip_grad: {{values: {list(range(200))}}}\n", "with these factors 121800 configurations must be checked; at most 20000"),
        ("{low: 1e-3, high: 1e-2, log: true}", "{low: 1e-3, high: 1e-2, log: 'true'}", "must be true or false"),
    ],
)  # fmt: skip
def test_hostile_value_in_a_right_file_is_refused(
    write_space: WriteSpace, old: str, new: str, message: str, loaded: None, refusal: Refusal
) -> None:
    path = write_space((old, new))
    found = refusal(lambda: load_space(path))
    assert message in found
    assert "\n" not in found


def test_endless_grid_is_refused(write_space: WriteSpace, loaded: None, refusal: Refusal) -> None:
    values = [count / 100 for count in range(1, 60)]
    tuned = "".join(
        f"\n  training.{key}: {{values: {values}}}" for key in ("clip_grad", "adam_eps")
    )
    path = write_space(
        ("{low: 1e-3, high: 1e-2, log: true}", f"{{values: {values}}}{tuned}"),
        ("sampler: tpe, trials: 6", "sampler: grid"),
    )
    assert "the grid has 616137 trials; at most 100000" in refusal(lambda: load_space(path))


def test_list_with_a_million_entries_is_refused_unread(write_space: WriteSpace) -> None:
    levels = ", ".join(map(str, range(1_000_000)))
    path = write_space(("values: [1, 2]", f"values: [{levels}]"))
    assert_process_refuses("--space", str(path), message="larger than 32768 bytes")


def assert_refused(path: Path, message: str, refusal: Refusal) -> None:
    found = refusal(lambda: read_question(path, [], None))
    assert message in found
    assert found.startswith(str(path))
    assert len(found) < 400 + len(str(path))
