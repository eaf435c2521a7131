"""Whether an arm was trained to its end: what its training curves can say about that, and no more.

A schedule that anneals the learning rate flattens every curve, so a flat end proves nothing. Two
signs are looked at instead, by a rule that is fixed before a study starts:

* *Improving*: from `BEGIN` to `END` of its epochs, in the middle of the training, while the learning rate
  is still high, the search metric on the validation split improved by more than the smallest
  difference of interest, over all seeds (the one-sided 95 % bound of the mean is above it).
* *Training loss*: after the last epoch its mean is more than `LOSS_RATIO` times that of the arm with
  the lowest, and higher by more than `LOSS_MARGIN`. It may also be that the arm cannot fit the
  training data any better: the curves of one length of training do not tell these apart. Where longer training
  was tried and gave nothing in the mean, it is no sign: an arm that fits its training data less is not unfinished.

Neither sign proves that an arm without it is finished: only longer training shows that. With
`confirm.budgets` it was tried, and its gain takes the place of the first sign: `LONGER`, if the longest
training is better than the next shorter one by more than the smallest difference of interest, in the mean over
the seeds. No test is asked for: a needless warning costs less than a false claim.
"""

import statistics as plain
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from karat.journal.trial import Trial
from karat.report.facts.lengths import Length, gained
from karat.statistics.comparison import Comparison, Rule
from karat.statistics.metric import Metric
from karat.statistics.samples import mean_bound

# Shares of the epochs. With a cosine the learning rate falls from 65 to 35 % of its peak between them.
BEGIN, END = 0.4, 0.6
LOSS_RATIO, LOSS_MARGIN = 1.1, 0.05


class Sign(StrEnum):
    """Of training that has not come to its end."""

    LONGER = "longer"
    IMPROVING = "improving"
    TRAIN_LOSS = "train_loss"


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """How far the confirmation runs of an arm were trained.

    Args:
        epochs: of a run.
        train_loss: mean over runs after the last epoch; None where the journal does not say.
        lowest_loss: of the confirmed arms.
        gain: mean improvement of the search metric from `BEGIN` to `END` of the epochs, above 0 is
            better; None below five epochs.
        longer: the longest training against the next shorter one, paired by seed; `equivalent` is
            finished. None where only one length was tried.
        shorter_epochs: of the next shorter one.
        signs: that training has not come to its end.
    """

    epochs: int
    train_loss: float | None
    lowest_loss: float | None
    gain: float | None
    signs: tuple[Sign, ...]
    longer: Comparison | None = None
    shorter_epochs: int | None = None

    @property
    def is_known(self) -> bool:
        """Whether the journal says enough to look for signs."""
        return not (self.gain is None and self.train_loss is None and self.longer is None)


def progress_of(
    runs: Mapping[str, Sequence[Trial]], metric: Metric, rule: Rule, lengths: Sequence[Length] = ()
) -> dict[str, Progress]:
    """For each arm with completed runs.

    Args:
        runs: completed confirmation runs of the longest training, by label.
        metric: of the search.
        rule: of the study.
        lengths: the results at each length of training, increasing.
    """
    losses = {label: _train_loss(trials) for label, trials in runs.items()}
    lowest = min((each for each in losses.values() if each is not None), default=None)
    found = {}
    for label, trials in runs.items():
        if not trials:
            continue
        gains = [gain for trial in trials if (gain := _gain(trial, metric)) is not None]
        loss, signs = losses[label], []
        longer = gained(label, lengths[-2], lengths[-1], rule) if len(lengths) > 1 else None
        if longer is not None and longer.difference is not None:
            if metric.goodness(longer.difference) > rule.smallest_difference:
                signs.append(Sign.LONGER)
        elif len(gains) >= 2 and mean_bound(gains) > rule.smallest_difference:
            signs.append(Sign.IMPROVING)
        is_high = loss is not None and lowest is not None and _is_high(loss, lowest)
        if is_high and not _gave_nothing(longer, metric):
            signs.append(Sign.TRAIN_LOSS)
        found[label] = Progress(
            epochs=int(plain.median(trial.epochs for trial in trials)),
            train_loss=loss,
            lowest_loss=lowest,
            gain=plain.fmean(gains) if gains else None,
            signs=tuple(signs),
            longer=longer,
            shorter_epochs=lengths[-2].epochs if len(lengths) > 1 else None,
        )
    return found


def _gave_nothing(longer: Comparison | None, metric: Metric) -> bool:
    """Whether longer training was tried and was no better in the mean."""
    return (
        longer is not None
        and longer.difference is not None
        and metric.goodness(longer.difference) <= 0
    )


def _is_high(loss: float, lowest: float) -> bool:
    return loss > LOSS_RATIO * lowest and loss > lowest + LOSS_MARGIN


def _train_loss(trials: Sequence[Trial]) -> float | None:
    told = [value for trial in trials if (value := trial.last("train_loss")) is not None]
    return plain.fmean(told) if told else None


def _gain(trial: Trial, metric: Metric) -> float | None:
    """Improvement of the metric in the middle of the training; None where it is too short."""
    values = {each.epoch: each.metrics.get(metric.name) for each in trial.reports}
    first, last = (values.get(round(share * trial.epochs)) for share in (BEGIN, END))
    if first is None or last is None or trial.epochs < 5:
        return None
    return metric.goodness(last) - metric.goodness(first)
