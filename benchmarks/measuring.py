"""How the benchmarks measure: alternating times, bytes kept for the backward pass, peak memory."""

import gc
import math
import multiprocessing
import os
import platform
import random
import statistics
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

SHORTEST_MS = 100.0
DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
Call = Callable[[], Any]


def in_turns(calls: Mapping[str, Call], rounds: int) -> dict[str, list[float]]:
    """Milliseconds of every call in every round, after a warm-up call.

    A short call is repeated within a measurement, so that threads of the previous call, which spin
    for a while before they sleep, count little. Each round measures all calls in a new random
    order, so that a slow moment of the machine affects all of them, and no call always finds the
    memory that the same other call left.
    """
    times: dict[str, list[float]] = {name: [] for name in calls}
    repeats = {}
    for name, call in calls.items():
        milliseconds(call)
        repeats[name] = math.ceil(SHORTEST_MS / max(milliseconds(call), 0.01))
    draw = random.Random(0)
    for _ in range(rounds):
        for name in draw.sample(list(calls), len(calls)):
            times[name].append(milliseconds(calls[name], repeats[name]))
    return times


def milliseconds(call: Call, repeats: int = 1) -> float:
    """Milliseconds of one call: on a GPU by CUDA events, on a CPU the CPU time of all its threads.

    CPU time does not include other programs, but includes a thread that spins while it waits.
    """
    if DEVICE == "cpu":
        started = time.process_time()
        for _ in range(repeats):
            call()
        return 1e3 * (time.process_time() - started) / repeats
    before, after = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    before.record()
    for _ in range(repeats):
        call()
    after.record()
    torch.cuda.synchronize()
    elapsed: float = before.elapsed_time(after)
    return elapsed / repeats


def ratio(times: list[float], others: list[float]) -> float:
    """The median of the ratios within each round."""
    return statistics.median(one / other for one, other in zip(times, others, strict=True))


def quartiles(times: list[float]) -> tuple[float, float]:
    """The first and the third quartile."""
    if len(times) < 2:
        return times[0], times[0]
    first, _, third = statistics.quantiles(times, n=4)
    return first, third


def saved_bytes(call: Callable[[], Tensor], given: list[Tensor]) -> int:
    """Bytes that autograd keeps for the backward pass, each storage once, without `given`."""
    known = {tensor.untyped_storage().data_ptr() for tensor in given}
    kept: dict[int, Any] = {}

    def note(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in known:
            kept[storage.data_ptr()] = storage
        return tensor.detach()  # the tensor itself would hold the graph, which holds the tensor

    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        out = call()
    assert out.requires_grad
    return sum(storage.nbytes() for storage in kept.values())


def peak_bytes(prepare: Callable[..., Call], *arguments: Any) -> int | None:
    """Peak memory of a call above the memory before it: of the GPU, or of a process on a CPU.

    On a CPU the call runs in a new process, whose memory contains nothing of earlier calls. None
    if the system does not report it (no /proc).

    Args:
        prepare: a function of a module that returns the call.
        arguments: its arguments; must be picklable.
    """
    if DEVICE == "cuda":
        call = prepare(*arguments)
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        call()
        return torch.cuda.max_memory_allocated() - before
    if not Path("/proc/self/status").exists():
        return None
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([prepare.__module__, "timm.models"])
    ours, theirs = context.Pipe(duplex=False)
    child = context.Process(target=_peak_of_process, args=(theirs, prepare, arguments))
    child.start()
    theirs.close()
    try:
        found: int = ours.recv()
    except EOFError:
        child.join()
        raise RuntimeError(
            f"the process that measures memory exited with status {child.exitcode}"
        ) from None
    child.join()
    return found


def _peak_of_process(answer: Any, prepare: Callable[..., Call], arguments: tuple[Any, ...]) -> None:
    call = prepare(*arguments)
    gc.collect()
    Path("/proc/self/clear_refs").write_text(
        "5", encoding="utf-8"
    )  # resets the peak, VmHWM, to the current size
    before = _memory("VmRSS")
    call()
    answer.send(_memory("VmHWM") - before)


def _memory(name: str) -> int:
    lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    line = next(line for line in lines if line.startswith(f"{name}:"))
    return 1024 * int(line.split()[1])


def machine() -> str:
    """Processor or GPU, cores, threads, and the version of torch."""
    name = platform.machine()
    if DEVICE == "cuda":
        name = torch.cuda.get_device_name()
    elif (info := Path("/proc/cpuinfo")).is_file():
        models = [
            line
            for line in info.read_text(encoding="utf-8").splitlines()
            if line.startswith("model name")
        ]
        name = models[0].partition(":")[2].strip() if models else name
    cores = len(os.sched_getaffinity(0))
    return f"{name}, {cores} cores, {torch.get_num_threads()} threads, torch {torch.__version__}"
