"""The table of orders has a row for what is asked for, beside softmax and its rivals with dropout."""

from benchmarks.orders import FOURIER, all_settings, counted, table


def test_rows_of_the_table_are_those_asked_for() -> None:
    name = "fourier, grid_size 3, dropout 0.1"
    rows = table([name], batch=1, rounds=1).splitlines()[2:]
    assert [row.split("|")[1].strip() for row in rows] == [
        "softmax",
        "softmax, dropout, fused",
        "softmax, dropout, plain",
        name,
    ]


def test_every_setting_but_dropout_is_counted() -> None:
    settings = [each for each in all_settings().values() if "dropout" not in each]
    assert all(counted(each) > 0.5 for each in settings)
    assert counted({**FOURIER, "operator_order": "phi_phi"}) > 2
