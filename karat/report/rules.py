"""The rules of a study as text: what was fixed before the launch."""

from karat.report.formatting import number, step_of, text_of
from karat.report.summary import Summary


def fixed_rules(summary: Summary) -> dict[str, str]:
    """What was fixed before the launch, by name, as text."""
    created, metric = summary.settings, summary.metric
    search, confirm = created["search"], created["confirm"]
    stopping = dict(created["early_stopping"])
    scheduler = stopping.pop("scheduler", "none")
    details = ", ".join(f"{key} {text_of(value)}" for key, value in stopping.items())
    best = "highest" if created["mode"] == "max" else "lowest"
    references = "the reference of each" if summary.is_matched else "the reference"
    return {
        "primary metric": f"{metric.test}, measured once for each run, after its last epoch",
        "smallest difference of interest": (
            f"{number(metric, confirm['smallest_difference'])}{step_of(metric)}"
        ),
        "alpha": f"{confirm['alpha']:g}",
        "correction": "Holm, over the confirmed arms",
        "seeds": f"{confirm['seeds']} for each confirmed arm, none of them used in the search",
        "confirmed": f"the best arm of each level of {confirm['by']}, and {references}",
        "chosen by": f"{best} {metric.name} of the search, among trials at full length",
        "search": (
            f"{search['sampler']}, {created['totals']['search']} trials, "
            f"{search.get('allocation', 'equal')} allocation"
        ),
        "early stopping": f"{scheduler}{f' ({details})' if details else ''}",
        "study seed": str(created["seed"]),
        "hash of the question": created["space_hash"],
        "fingerprint of the data": created["fingerprint"],
    }
