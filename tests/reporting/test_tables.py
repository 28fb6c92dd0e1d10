"""softvote.reporting.tables."""

from softvote.reporting.tables import render


def test_numbers_are_flush_right_and_words_flush_left() -> None:
    rows = [["mean", "+1.5", "yes"], ["log_loss", "-10.25", ""], ["x", "", "no"]]
    assert render(["rule", "gain", "kept"], rows) == (
        "rule        gain  kept\n"
        "--------  ------  ----\n"
        "mean        +1.5  yes\n"
        "log_loss  -10.25\n"
        "x                 no\n"
    )


def test_a_table_without_rows_is_its_header() -> None:
    assert render(["a", "bc"], []) == "a  bc\n-  --\n"
