"""What a training step costs by mechanism and basis: a table that `benchmarks.step_costs` has measured.

A step of B images is modelled as

    step_s + depth * layer_s + 3 * B * (multiply-adds of the host) * multiply_add_s + attention,

where each converted attention module adds `call_s + scores_s * (scores)` to what softmax would take, with
B H N² scores. The entries are CPU seconds of one thread on the machine that the table names, and are
scaled by the speed of this machine. Where several entries apply (a basis, and an order of the operator),
the costliest counts: combinations are not measured.
"""

import functools
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from karat.attention.config import AttentionConfig
from karat.attention.mechanisms._operator import OperatorMechanism
from karat.attention.names import KARAT, SOFTMAX, has_basis
from karat.attention.operator_config import FULL
from karat.forecast.speed.yardsticks import Speed
from karat.models.config import ModelConfig
from karat.models.costs import costs_of
from karat.models.layers import AttentionLayer, chosen_layers
from karat.models.shape import layer_shapes
from karat.training.config import TrialConfig

TABLE = Path(__file__).parent / "step_costs.json"
_BACKWARD = 2.0  # times the forward pass


@dataclass(frozen=True, kw_only=True)
class Host:
    """Seconds of a step of a plain ViT with softmax: fixed, for each block, for each multiply-add.

    `save_s` is what an epoch takes beside its steps and its validation: its checkpoint.
    """

    step_s: float
    layer_s: float
    multiply_add_s: float
    save_s: float


@dataclass(frozen=True, kw_only=True)
class Extra:
    """Seconds that an attention module takes in a step beyond softmax: of a call, and of each score.

    `operations` are those of learned functions for one score in the setting that was measured, as
    `Work.as_products`. 0 where there are none.
    """

    call_s: float
    scores_s: float
    operations: float


@dataclass(frozen=True, kw_only=True)
class Subject:
    """What is trained: model, attention, and `image_size`, `channels` and `classes` of the data."""

    model: ModelConfig
    attention: AttentionConfig
    shape: Mapping[str, int]


@dataclass(frozen=True, kw_only=True)
class StepCosts:
    """The table, and the machine that it is from.

    Args:
        speed: of that machine, while the table was measured.
        host: of the model around attention.
        extra: kind (`kinds_of`) to its costs.
        operation_s: seconds of one of their `operations` in a kernel.
    """

    speed: Speed
    host: Host
    operation_s: float
    extra: Mapping[str, Extra]

    @classmethod
    def read(cls, path: Path = TABLE) -> "StepCosts":
        """The table in a file."""
        data = json.loads(path.read_text(encoding="utf-8"))
        return cls(
            speed=Speed(**data["speed"]),
            host=Host(**data["host"]),
            operation_s=data["operation_s"],
            extra={kind: Extra(**each) for kind, each in data["extra"].items()},
        )

    def epoch_s(self, config: TrialConfig, speed: Speed, threads: int = 1) -> float:
        """Seconds of an epoch of a trial: its steps, the validation and the checkpoint.

        Args:
            config: of the trial.
            speed: of a core of the machine that trains.
            threads: cores of the trial, over all its processes.

        Raises:
            InputError: the settings are not compatible.
        """
        info = config.data.info()
        batch = min(config.training.batch_size, info.train_size)
        steps = max(1, info.train_size // batch)
        ratio = self.speed.rounds_per_s / speed.rounds_per_s
        fixed_s = (self.host.step_s + self._layers_s(_subject(config))) * ratio
        evaluation_s = self.evaluation_s(config, speed, threads)
        each_s = (1 + _BACKWARD) * batch * evaluation_s + fixed_s
        share = config.data.val_share
        validated = info.train_size * share / (1 - share)
        return steps * each_s + validated * evaluation_s + self.host.save_s * ratio

    def evaluation_s(self, config: TrialConfig, speed: Speed, threads: int = 1) -> float:
        """Seconds of the forward pass of an image within a large batch; arguments as of `epoch_s`."""
        batch = min(config.training.batch_size, config.data.info().train_size)
        grown_s = self._grown_s(_subject(config), batch, speed)
        return grown_s / threads / batch / (1 + _BACKWARD)

    def step_s(self, subject: Subject, batch: int, speed: Speed) -> float:
        """Seconds of a training step on one core: forward and backward pass, and the optimiser.

        Args:
            subject: what is trained.
            batch: images of the step.
            speed: of the core.

        Raises:
            InputError: the settings are not compatible.
        """
        fixed_s = self.host.step_s + self._layers_s(subject)
        fixed_s *= self.speed.rounds_per_s / speed.rounds_per_s
        return fixed_s + self._grown_s(subject, batch, speed)

    def _grown_s(self, subject: Subject, batch: int, speed: Speed) -> float:
        """Seconds of a step that grow with the batch: in large products, and in attention."""
        host = costs_of(subject.model, AttentionConfig(), **subject.shape)
        dense = (1 + _BACKWARD) * batch * host.forward_flops * self.host.multiply_add_s
        other = sum(
            batch * scores * self._of(part, layer)[1] for layer, part, scores in _parts(subject)
        )
        # Mechanisms without scores are cheaper than softmax, of which `dense` has the products.
        other = max(other, -dense / 2)
        # Like the speed of a matrix product, that of the rest is of one core.
        dense *= self.speed.multiply_adds_per_s / speed.multiply_adds_per_s
        return dense + other * self.speed.rounds_per_s / speed.rounds_per_s

    def _layers_s(self, subject: Subject) -> float:
        calls = sum(self._of(part, layer)[0] for layer, part, _ in _parts(subject))
        count = len(layer_shapes(subject.model, subject.shape["image_size"]))
        return max(0.0, count * self.host.layer_s + calls)

    def _of(self, part: AttentionConfig, layer: AttentionLayer) -> tuple[float, float]:
        """Seconds of a call, and of a score, of some heads of a layer."""
        work = part.make_mechanism().learned_work(layer.place)
        operations = work.as_products / layer.keys
        calls, scores = [], []
        for kind in kinds_of(part):
            each = self.extra.get(kind) or self._unknown
            calls.append(each.call_s)
            scores.append(each.scores_s + self._grown(operations, each))
        return max(calls), max(scores)

    def _grown(self, operations: float, entry: Extra) -> float:
        """Seconds of a score that other settings take more than those of an entry."""
        if not entry.operations or not operations:
            return 0.0
        return (operations - entry.operations) * self.operation_s

    @functools.cached_property
    def _unknown(self) -> Extra:
        """For a plug-in that the table does not have: neither cheap nor costly among those it has."""
        known = sorted(self.extra.values(), key=lambda each: each.scores_s)
        return known[len(known) // 2]

    def lacks(self, attention: AttentionConfig) -> bool:
        """Whether the table has no entry for the mechanism or the basis."""
        return any(kind not in self.extra for kind in kinds_of(attention))


def forms_weights(subject: Subject) -> bool:
    """Whether a mask or bias of the host keeps operators from their kernels, which the table is of."""
    return any(
        (layer.place.is_masked or layer.place.has_bias)
        and isinstance(part.make_mechanism(), OperatorMechanism)
        for layer, part, _ in _parts(subject)
    )


def kinds_of(attention: AttentionConfig) -> list[str]:
    """The entries of the table that apply to these settings of attention."""
    if attention.is_softmax:
        return [SOFTMAX]
    assert attention.mechanism is not None
    kinds = [] if attention.mechanism == KARAT else [attention.mechanism]
    if not isinstance(attention.make_mechanism(), OperatorMechanism):
        return kinds
    if has_basis(attention.mechanism):
        kinds.append(str(attention.basis))
    if attention.operator_order != "w_phi":
        kinds.append(f"operator_order {attention.operator_order}")
    if attention.projection != "none":
        kinds.append(f"projection {attention.projection}")
    if attention.base_activation != "zero":
        kinds.append("base_activation")
    if attention.rank == FULL:
        kinds.append("rank full")
    return kinds


def _subject(config: TrialConfig) -> Subject:
    return Subject(model=config.model, attention=config.attention, shape=config.data_shape())


def _parts(subject: Subject) -> Iterator[tuple[AttentionLayer, AttentionConfig, int]]:
    """Heads of converted layers that share settings, with their scores for one image."""
    attention = subject.attention
    if attention.is_softmax:
        return
    layers = chosen_layers(layer_shapes(subject.model, subject.shape["image_size"]), attention)
    for index, layer in enumerate(layers):
        for heads, part in attention.of_block(index, len(layers)).parts(layer.num_heads):
            if part is not None:
                yield layer, part, len(heads) * layer.pairs
