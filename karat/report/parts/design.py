"""The section of a report about what its design shows: effects of factors, or what each change gives."""

from karat.report.design_text import (
    FRACTION,
    WITHOUT,
    aliases_text,
    change_verdict,
    changed_text,
    effect_name,
    effect_verdict,
    ranked,
)
from karat.report.facts.summary import Summary
from karat.report.formatting import Units, in_unit, interval_text, p_text, short
from karat.report.tables import Section, Table, table_of


def design_section(summary: Summary) -> Section | None:
    """Effects, or changes; None where the design shows no more than the results."""
    if summary.effects:
        return _effects_section(summary)
    if summary.changes:
        return _changes_section(summary)
    return None


def _effects_section(summary: Summary) -> Section:
    units, per = Units(summary.metric), "seed" if summary.rule.tunings == 1 else "tuning"
    share = f"{100 * (1 - summary.rule.alpha):g} % interval"
    mains = sum(effect.is_main for effect in summary.effects)
    is_fraction = summary.design.name == FRACTION and summary.effects[0].arms < 2**mains
    over = "of the arms" if is_fraction else "over the same combinations of the other factors"
    notes = [
        f"A main effect is the mean test {summary.metric.noun} at the second level minus that at the first, {over}. An "
        "interaction is half of what the first factor gives more at the second level of the other: where it is not zero, a "
        "main effect alone says little.",
        f"Each is computed for every {per} and tested over {per}s; p is corrected by Holm over all {len(summary.effects)} "
        f"effects, and each {share} holds for itself.",
    ]
    if is_fraction:
        notes.append(
            "This is a fraction of all combinations: an effect cannot be told from what it is aliased with, and number and "
            "verdict are of their sum (of the difference, where there is a minus sign). Named are factors and interactions "
            "of two; interactions of three and more are aliased with effects too."
        )
    return Section(
        title="Effects of the factors",
        paragraphs=tuple(notes),
        tables=(_effects_table(summary, units, share),),
    )


def _effects_table(summary: Summary, units: Units, share: str) -> Table:
    columns = (("aliased with", "text", aliases_text),)
    return table_of(
        ranked(summary),
        ("effect", "text", effect_name),
        ("kind", "text", lambda each: "main effect" if each.is_main else "interaction"),
        ("from", "text", lambda each: ", ".join(pair[0] for pair in each.levels)),
        ("to", "text", lambda each: ", ".join(pair[1] for pair in each.levels)),
        ("seeds" if summary.rule.tunings == 1 else "tunings", "number", lambda each: str(each.comparison.n)),
        (f"effect{in_unit(units.step)}, {share}", "range", lambda each: interval_text(each.comparison, units)),
        ("p (Holm)", "number", lambda each: p_text(each.comparison if summary.is_final else None)),
        ("verdict", "text", lambda each: effect_verdict(each, summary)),
        *(columns if any(each.aliases for each in summary.effects) else ()),
        cards=True,
    )  # fmt: skip


def _changes_section(summary: Summary) -> Section:
    units = Units(summary.metric)
    share = f"{100 * (1 - summary.rule.alpha):g} % interval"
    table = table_of(
        summary.changes,
        ("factor", "text", lambda each: short(each.factor)),
        ("from", "text", lambda each: each.before),
        ("to", "text", lambda each: each.after),
        (f"difference{in_unit(units.step)}, {share}", "range", lambda each: interval_text(each.comparison, units)),
        ("p (Holm)", "number", lambda each: p_text(each.comparison if summary.is_final else None)),
        ("verdict", "text", lambda each: change_verdict(each, summary)),
        cards=True,
    )  # fmt: skip
    without = summary.design.name == WITHOUT
    return Section(
        title="What each ingredient gives" if without else "What each factor gives",
        paragraphs=(
            f"Each arm is {changed_text(summary)}, tuned as much as the reference. The differences are those of the results, "
            "by factor. Whether two changes need each other cannot be seen here: a factorial shows it.",
        ),
        tables=(table,),
    )
