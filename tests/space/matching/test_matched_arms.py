"""Matched arms cost what their reference costs, and are the same in whatever a study does later."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from karat.attention.config import AttentionConfig
from karat.models.build import build_model
from karat.models.config import ModelConfig
from karat.models.hosts import count_parameters
from karat.planning.extension import changes_between
from karat.planning.plans.adaptive import Search
from karat.planning.plans.confirmation import contests_of
from karat.settings import build
from karat.space.arms import trial_config
from karat.space.matching.costs import ExactCosts
from karat.space.reader import load_space, space_of
from karat.space.space import Arm, Space
from karat.study.description import description
from karat.training.costs import costs_of_trial

TEXT = """\
study: matched
question: Is it better at equal cost?
data: {name: digits}
model: {name: vit_micro, patch_size: 2, depth: 2, weight_init: jax}
attention: {grid_size: 3, rank: 12}
training: {recipe: quick, epochs: 15}
reference: {attention.basis: softmax}
factors:
  attention.basis: [softmax, fourier]
tuned:
  training.learning_rate: {low: 1e-3, high: 2e-2, log: true}
match: {by: parameters, change: {attention.rank: [4, 17], model.embed_dim: [24, 60]}}
search: {sampler: tpe, trials: 12}
confirm: {seeds: 4}
"""
TINY = {"model.name": "vit_tiny", "model.depth": "12", "attention.grid_size": "9"}


def space(tmp_path: Path, **changes: str) -> Space:
    path = tmp_path / "space.yaml"
    path.write_text(TEXT)
    return load_space(path, changes)


def twin(space: Space, label: str) -> Arm:
    return next(arm for arm in space.arms.values() if arm.raw == label)


def macs(space: Space, arm: Arm) -> int:
    return costs_of_trial(trial_config(space, arm)).forward_flops


def parameters(space: Space, arm: Arm) -> int:
    """Of the model that is built, which the costs that were matched do not do."""
    sections = trial_config(space, arm)
    model = build(ModelConfig, arm.sections["model"], "model")
    attention = AttentionConfig.from_settings(arm.sections["attention"])
    return count_parameters(
        build_model(model, attention, seed=0, drop_path=0.0, **sections.data_shape())
    )


@pytest.mark.parametrize("changes", [{}, TINY], ids=["micro", "tiny"])
@pytest.mark.parametrize(("by", "price"), [("parameters", parameters), ("macs", macs)])
def test_the_matched_model_costs_within_two_percent_of_the_reference(
    by: str, price: Any, changes: dict[str, str], tmp_path: Path
) -> None:
    wide = {"match.change.model.embed_dim": "[96, 192]"} if changes else {}
    known = space(tmp_path, **{"match.by": by}, **changes, **wide)
    arm = twin(known, "fourier")
    wanted = price(known, known.arms["softmax"])
    assert price(known, known.arms["fourier"]) > 1.02 * wanted
    assert price(known, arm) == pytest.approx(wanted, rel=0.02)
    assert arm.label.startswith("fourier matched (")


def test_raw_and_matched_arms_are_tuned_and_confirmed_alike_against_one_reference(
    tmp_path: Path,
) -> None:
    known = space(tmp_path)
    arm = twin(known, "fourier")
    assert list(known.arms) == ["softmax", "fourier", arm.label]
    assert known.references == {"fourier": "softmax", arm.label: "softmax"}
    assert [each.label for each in contests_of(known)] == list(known.arms)
    assert {group for group, _ in Search(known).schedule} == set(known.arms)
    assert len({each.trials for each in known.sizes.values()}) == 1
    assert arm.factors == known.arms["fourier"].factors


def test_only_what_may_be_changed_differs_from_the_raw_arm(tmp_path: Path) -> None:
    known = space(tmp_path)
    raw, arm = known.arms["fourier"], twin(known, "fourier")
    changed = {
        f"{section}.{key}"
        for section, values in arm.sections.items()
        for key, value in values.items()
        if raw.sections[section].get(key) != value
    }
    assert changed == {"attention.rank", "model.embed_dim"}


def test_an_arm_that_costs_the_same_as_it_is_has_no_second_one(tmp_path: Path) -> None:
    known = space(tmp_path, **{"match.within": "0.5"})
    assert list(known.arms) == ["softmax", "fourier"]
    assert known.source["match"]["arms"] == {"fourier": {}}


def test_arms_of_several_sizes_are_matched_each_to_its_own_reference(tmp_path: Path) -> None:
    known = space(
        tmp_path,
        **{
            "factors.model.depth": "[1, 3]",
            "model": "{name: vit_micro, patch_size: 2}",
            "match.change": "{attention.rank: [1, 17], model.embed_dim: [24, 60]}",
        },
    )
    for arm in [arm for arm in known.arms.values() if arm.raw is not None]:
        reference = known.arms[known.references[arm.label]]
        assert reference.factors["model.depth"] == arm.factors["model.depth"]
        assert parameters(known, arm) == pytest.approx(parameters(known, reference), rel=0.02)


def test_a_journal_keeps_its_arms_when_another_version_counts_otherwise(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    known = space(tmp_path)
    monkeypatch.setattr(ExactCosts, "of", lambda *_: 1.0)
    again = space_of(known.source, known.name, "journal")
    assert again.arms == known.arms
    assert again.hash == known.hash


def test_a_study_is_continued_by_the_same_file_and_not_by_another_match(tmp_path: Path) -> None:
    known = space(tmp_path)
    assert changes_between(known, space(tmp_path)) == []
    for other in ({"match.by": "macs"}, {"match.within": "0.05"}):
        refused = changes_between(known, space(tmp_path, **other))
        assert any(not each.is_allowed for each in refused)


def test_a_space_without_match_has_the_hash_and_the_journal_that_it_had(tmp_path: Path) -> None:
    data = yaml.safe_load(TEXT)
    del data["match"]
    data["confirm"]["by"] = "arm"
    path = tmp_path / "space.yaml"
    path.write_text(yaml.safe_dump(data))
    known = load_space(path)
    assert "match" not in known.source
    described: Any = description(known, "00")
    assert all("raw" not in arm for arm in described["arms"])


REFUSED: tuple[tuple[dict[str, str], str], ...] = (
    ({"match.by": "flops"}, "match.by = 'flops': must be one of these. Known: macs, memory, parameters, step_time"),
    ({"match": "{change: {attention.rank: [4, 17]}}"}, "match.by: is missing: parameters, macs, step_time or memory"),
    ({"match": "{by: macs}"}, "match.change: is missing; write {attention.rank: [4, 17]}"),
    ({"match.change": "{}"}, "match.change: must name at least one setting"),
    ({"match.to": "fourier"}, "match.to: unknown key"),
    ({"match.within": "2"}, "match.within = 2.0: must be greater than 0 and less than 1; 2 % are 0.02"),
    ({"match.change.attention.rank": "[17, 4]"}, "match.change.attention.rank = [17, 4]: must be at least 1, and rise"),
    ({"match.change.attention.rank": "[4, 4]"}, "match.change.attention.rank = [4, 4]: must be at least 1, and rise"),
    ({"match.change.attention.rank": "[4, full]"}, "must be two whole numbers, [least, highest]"),
    ({"match.change.attention.rnak": "[4, 17]"}, "match.change.attention.rnak: unknown key. did you mean 'rank'?"),
    ({"match.change.model.width": "[4, 17]"}, "match.change.model.width: unknown key"),
    ({"match.change.training.epochs": "[4, 17]"}, "must be a setting of model or attention, as attention.rank"),
    ({"match.change.attention.degree": "[2, 8]"}, "match.change.attention.degree: exists in no arm but the reference"),
    ({"factors.model.depth": "[1, 2]", "model": "{name: vit_micro, patch_size: 2}", "match.change.model.depth": "[1, 4]"}, "match.change.model.depth: is also a factor"),
    ({"tuned.model.num_heads": "{values: [1, 3]}", "match.change.model.num_heads": "[1, 4]"}, "match.change.model.num_heads: is also tuned"),
    ({"tuned.attention.grid_size": "{values: [1, 3]}", "attention": "{rank: 12}"}, "tuned.attention.grid_size: changes the parameters of fourier"),
    ({"match.change": "{attention.rank: [14, 17]}"}, "does not bring fourier within 2 % of softmax; nearest: attention.rank 14 gives 71,086 parameters, 22.1 % above 58,234; widen a range, or add a setting"),
    ({"match.change": "{attention.rank: [4, 200], model.embed_dim: [24, 400]}"}, "combinations of values; at most 20,000: use narrower ranges"),
    ({"match.change": "{model.patch_size: [3, 3000]}"}, "match.change: no values go with fourier"),
    ({"match.arms": "{cosine: {attention.rank: 5}}"}, "match.arms.cosine: is no arm, or a reference"),
    ({"match.arms": "{fourier: {attention.rank: 99}}"}, "must be a whole number from 4 to 17"),
    ({"match.arms": "{fourier: {model.depth: 1}}"}, "is not in match.change for this arm"),
    ({"confirm.by": "attention.basis"}, "confirm.by = 'attention.basis': must be arm with match"),
    ({"search.allocation": "free"}, "search.allocation: must not be free with match"),
    ({"model.init_from": "other/same arm"}, "model.init_from: does not go with match"),
    ({"reference": "{attention.basis: cosine}"}, "reference.attention.basis = 'cosine': is not a level of this factor"),
    ({"factors": "{attention.mechanism: [softmax, static, uniform]}", "reference": "{attention.mechanism: softmax}", "attention": "{rank: 12}", "match": "{by: macs, change: {attention.rank: [1, 17]}}"}, "match.change: has no setting that uniform has"),
)  # fmt: skip


@pytest.mark.parametrize(("changes", "message"), REFUSED, ids=[each[1][:50] for each in REFUSED])
def test_wrong_input_is_refused_in_one_line_before_anything_runs(
    changes: dict[str, str], message: str, tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match=r"space\.yaml|--set") as caught:
        space(tmp_path, **changes)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
