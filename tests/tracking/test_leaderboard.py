"""tracking.leaderboard: every submission finds its file, and differences are judged by both samples."""

from __future__ import annotations

import io
import math
import multiprocessing
from collections.abc import Sequence
from dataclasses import replace
from multiprocessing.synchronize import Barrier
from pathlib import Path

import pytest
from PIL import Image
from scipy.stats import spearmanr

from softvote.errors import UserError
from softvote.kaggle.competitions import Submission
from softvote.reporting.leaderboard import draw_board, render_board
from softvote.tracking.comparison import LeaderboardComparison, LeaderboardRow, join_ledger
from softvote.tracking.leaderboard import LEADERBOARD_COLUMNS, read_leaderboard, write_leaderboard
from softvote.tracking.ledger import LEDGER_COLUMNS, NEWER_COLUMNS, Entry, read_ledger
from softvote.tracking.submission_message import parse_sha256, submission_message

LEDGER = """\
2026-11-21T01:44:11Z,step1-basic-cnn-sgd,digit-recognizer,vote: mean,basic_cnn,5/5,,0.987595,0.000541,42000,,,,28000,step1-basic-cnn-sgd-f43df23d.csv,f43df23d2aa2ecb4490a0651a62380c4c15cd275d54203e520eb0f0b478227d1,,,87d3056,true
2026-11-21T01:44:13Z,step2-basic-cnn-adam,digit-recognizer,vote: mean,basic_cnn,5/5,,0.989333,0.000502,42000,,,,28000,step2-basic-cnn-adam-387dd063.csv,387dd0638286fc6ed7849c69be592c3a456292bdb93eb7f06553e35da473a587,,,87d3056,true
2026-11-21T01:58:06Z,step3-cnn,digit-recognizer,vote: mean,cnn,5/5,,0.994143,0.000374,42000,,,,28000,step3-cnn-7c9d9893.csv,7c9d98935d13db1b9282cdd31c5e9eeaf1491524de41a0e497eb06fc863a35fa,,,28f75bd,true
2026-11-21T02:25:40Z,step4-cnn-x5,digit-recognizer,vote: mean_logits,cnn_1 cnn_2,1/5,,0.996905,0.000629,8400,,,,28000,step4-cnn-x5-1fb5b949.csv,1fb5b9493f4dd6693a937d1675c366e7f92a0412fbafc44ac03382ec9f72e94d,,,60e043b,true
2026-11-21T04:52:44Z,digit-adder,digit-adder,cnn,cnn,5/5,,0.995457,0.000362,35000,0.062908,0.005535,0.995714,7000,digit-adder-8e04406c.csv,8e04406c2e651a5a7b8e4079a672044c7c765b67e529402a290b9a63795e130c,,,f99ce10,true
"""  # noqa: E501
DIGITS = "digit-recognizer"


@pytest.fixture(scope="module")
def entries(tmp_path_factory: pytest.TempPathFactory) -> list[Entry]:
    path = tmp_path_factory.mktemp("submissions") / "ledger.csv"
    older = [column for column in LEDGER_COLUMNS if column not in NEWER_COLUMNS]
    path.write_text(",".join(older) + "\n" + LEDGER)
    return read_ledger(path)


def submission_of(ref: int, public: float | None = None, **facts: object) -> Submission:
    plain = Submission(ref, "f.csv", f"2026-11-22T00:00:{ref % 60:02}Z", "", "complete", public)
    return replace(plain, **facts)  # type: ignore[arg-type]


def with_refs(entries: Sequence[Entry]) -> list[Entry]:
    """As if each had been sent: 101, 102, ..."""
    return [replace(entry, ref=101 + number) for number, entry in enumerate(entries)]


def board_of(*submissions: Submission) -> list[tuple[str, Submission]]:
    return [(DIGITS, submission) for submission in submissions]


def only(comparisons: list[LeaderboardComparison]) -> LeaderboardRow:
    [[row]] = [comparison.rows for comparison in comparisons]
    return row


# ---------------------------------------------------------------- the file


def test_what_is_written_is_read(tmp_path: Path) -> None:
    path = tmp_path / "submissions" / "leaderboard.csv"
    assert read_leaderboard(path) == []
    board = [
        submission_of(3, 0.99610, private=0.99571, description='wider, "±5", é'),
        submission_of(2, status="error", error="line one\nline two"),
        submission_of(1, status="pending"),
    ]
    assert write_leaderboard(path, DIGITS, board) == []
    assert read_leaderboard(path) == board_of(*board)
    assert path.read_text().splitlines()[:2] == [
        "competition,ref,file,time,description,status,public,private,error",
        'digit-recognizer,3,f.csv,2026-11-22T00:00:03Z,"wider, ""±5"", é",complete,0.996100,0.995710,',
    ]


def test_what_is_listed_is_replaced_and_others_stay(tmp_path: Path) -> None:
    path = tmp_path / "leaderboard.csv"
    write_leaderboard(path, "z", [submission_of(9)])
    write_leaderboard(path, "m", [submission_of(1), submission_of(2)])
    write_leaderboard(path, "a", [submission_of(5)])
    assert write_leaderboard(path, "m", [submission_of(2, 0.5)]) == [1]
    assert [(name, each.ref, each.public) for name, each in read_leaderboard(path)] == [
        ("a", 5, None),
        ("m", 2, 0.5),
        ("m", 1, None),
        ("z", 9, None),
    ]


def test_45_submissions_lie_newest_first_and_each_once(tmp_path: Path) -> None:
    path = tmp_path / "leaderboard.csv"
    board = [submission_of(ref, ref / 100) for ref in range(10, 55)]
    assert write_leaderboard(path, DIGITS, [*board[20:], *board[:25]]) == []
    assert read_leaderboard(path) == board_of(*reversed(board))


def write_many(path: Path, writer: str, together: Barrier) -> None:
    for number in range(20):
        together.wait(30)
        write_leaderboard(path, f"{writer}{number:02}", [submission_of(number)])


def test_two_writers_lose_nothing(tmp_path: Path) -> None:
    path = tmp_path / "leaderboard.csv"
    context = multiprocessing.get_context("fork")
    together = context.Barrier(2)
    writers = [context.Process(target=write_many, args=(path, writer, together)) for writer in "ab"]
    for process in writers:
        process.start()
    for process in writers:
        process.join(30)
    found = [(name, each.ref) for name, each in read_leaderboard(path)]
    assert found == [(f"{writer}{number:02}", number) for writer in "ab" for number in range(20)]


GOOD = [DIGITS, "7", "f.csv", "2026-11-22T00:00:00Z", "text", "complete", "0.9", "0.8", ""]


def damage(column: str, text: str) -> str:
    lines = [list(LEADERBOARD_COLUMNS), list(GOOD), list(GOOD)]
    lines[1][LEADERBOARD_COLUMNS.index("description")] = '"two\nlines"'
    lines[2][LEADERBOARD_COLUMNS.index(column)] = text
    return "".join(",".join(line) + "\n" for line in lines)


@pytest.mark.parametrize(
    ("text", "where"),
    [
        ("competition,ref\n", "row 1: the header"),
        (damage("error", "a,b"), "row 4: 10 columns, not 9"),
        (damage("ref", "7a"), "row 4, column ref: '7a'"),
        (damage("status", "done"), "row 4, column status: 'done'"),
        (damage("public", "nan"), "row 4, column public: 'nan'"),
        (damage("private", "high"), "row 4, column private: 'high'"),
        (damage("file", '"f'), "cannot be read"),
    ],
)
def test_a_damaged_file_is_told_and_left_alone(tmp_path: Path, text: str, where: str) -> None:
    path = tmp_path / "leaderboard.csv"
    path.write_text(text)
    for use in (lambda: read_leaderboard(path), lambda: write_leaderboard(path, "other", [submission_of(1)])):
        with pytest.raises(UserError) as caught:
            use()
        assert where in str(caught.value) and "`leaderboard`" in str(caught.value)
    assert path.read_text() == text


def test_every_problem_is_told_at_once(tmp_path: Path) -> None:
    path = tmp_path / "leaderboard.csv"
    path.write_text(damage("ref", "").replace("0.8", "high"))
    with pytest.raises(UserError) as caught:
        read_leaderboard(path)
    assert [line.split(": ")[0].split(", ", 1)[1] for line in str(caught.value).splitlines()] == [
        "row 2, column private",
        "row 4, column ref",
        "row 4, column private",
    ]


def test_scores_of_any_metric_are_kept(tmp_path: Path) -> None:
    path = tmp_path / "leaderboard.csv"
    board = [submission_of(3, 1.27, private=14.5), submission_of(2, -0.04), submission_of(1, 0.31)]
    assert write_leaderboard(path, "dogs", board) == []
    assert [each for _, each in read_leaderboard(path)] == board


def of_metric(entries: Sequence[Entry], metric: str, *values: float) -> list[Entry]:
    """The same files, scored by another metric with an error of 0.01 on as many rows as are tested."""
    scored = zip(with_refs(entries), values, strict=False)
    return [
        replace(entry, metric=metric, cv_score=value, cv_standard_error=0.01, rows=28_000)
        for entry, value in scored
    ]


def test_a_log_loss_is_no_percentage_and_less_of_it_is_better(entries: list[Entry]) -> None:
    board = board_of(submission_of(101, 0.312), submission_of(102, 0.40), submission_of(103, 1.27))
    [comparison] = join_ledger(of_metric(entries, "log_loss", 0.31, 0.35, 1.30), board, {})
    assert [row.entry.cv_score for row in comparison.rows] == [0.31, 0.35, 1.30]
    assert [(row.cv_rank, row.leaderboard_rank) for row in comparison.rows] == [(1, 1), (2, 2), (3, 3)]
    assert [row.verdict for row in comparison.rows] == [
        "chance",
        "higher than chance explains",
        "lower than chance explains",
    ]
    assert comparison.rank_correlation == 1.0
    text = render_board([comparison])
    assert "%" not in text and "0.3100 ± 0.0100" in text and "1.2700 ± 0.0100" in text and "log loss" in text


def test_a_file_scored_here_by_another_metric_is_not_compared(entries: list[Entry]) -> None:
    by_loss = of_metric(entries[:2], "log_loss", 0.31, 0.35)
    [comparison] = join_ledger(
        [with_refs(entries[:3])[2], *by_loss],
        board_of(*map(submission_of, (101, 102, 103), (0.3, 0.4, 0.9))),
        {},
    )
    other = comparison.rows[-1]
    assert other.entry.metric == "accuracy" and other.status == "scored here by accuracy"
    assert other.difference is None and other.cv_rank is None and len(comparison.scored) == 2


def test_a_score_that_no_accuracy_can_be_is_told(entries: list[Entry]) -> None:
    row = only(join_ledger(with_refs(entries[:1]), board_of(submission_of(101, 1.27)), {}))
    assert row.difference is None and "which no such score is" in row.status
    assert "127" not in render_board(
        join_ledger(with_refs(entries[:1]), board_of(submission_of(101, 1.27)), {})
    )


def test_a_folder_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    (tmp_path / "submissions").write_text("a file in the way")
    with pytest.raises(UserError, match="cannot be written"):
        write_leaderboard(tmp_path / "submissions" / "leaderboard.csv", DIGITS, [submission_of(1)])


# ---------------------------------------------------------------- what is sent with a submission


def test_a_description_leads_back_to_the_file(entries: list[Entry]) -> None:
    assert submission_message(entries[2]) == (
        "step3-cnn, vote: mean, cross-validation 99.41 ± 0.04 %, "
        "sha256 7c9d98935d13db1b9282cdd31c5e9eeaf1491524de41a0e497eb06fc863a35fa"
    )
    assert [parse_sha256(submission_message(entry)) for entry in entries] == [
        entry.sha256 for entry in entries
    ]


def test_what_people_wrote_around_it_does_no_harm() -> None:
    assert parse_sha256(f"my best, sha256 {'0a' * 32}, sent twice") == "0a" * 32
    for text in ["", "0a" * 32, f"sha256 {'0a' * 31}", f"sha256 {'0a' * 33}", f"sha256 {'0G' * 32}"]:
        assert parse_sha256(text) is None


# ---------------------------------------------------------------- who belongs to whom


def test_a_submission_is_found_by_its_ref(entries: list[Entry]) -> None:
    board = [submission_of(102, 0.98757), submission_of(101, 0.97928)]
    [comparison] = join_ledger(with_refs(entries[:2]), board_of(*board), {})
    assert [(row.entry.pipeline, row.submission) for row in comparison.rows] == [
        ("step2-basic-cnn-adam", board[0]),
        ("step1-basic-cnn-sgd", board[1]),
    ]
    assert comparison.unknown == 0


def test_without_a_ref_it_is_found_by_its_sha256(entries: list[Entry]) -> None:
    submission = submission_of(500, 0.97928, description=submission_message(entries[0]))
    assert only(join_ledger(entries[:1], board_of(submission), {})).submission == submission


def test_a_ref_says_more_than_a_description(entries: list[Entry]) -> None:
    """Somebody fixed the description of 101 with the sha256 of another file."""
    submission = submission_of(101, 0.9, description=submission_message(entries[1]))
    [comparison] = join_ledger(with_refs(entries[:2]), board_of(submission), {})
    assert [row.submission for row in comparison.rows] == [None, submission]


def test_strangers_are_counted_and_not_shown(entries: list[Entry]) -> None:
    strangers = [submission_of(1, 0.5), submission_of(2, 0.6, description=f"sha256 {'0' * 64}")]
    [comparison] = join_ledger(with_refs(entries[:1]), board_of(submission_of(101, 0.9), *strangers), {})
    assert len(comparison.rows) == 1 and comparison.unknown == 2
    text = render_board([comparison])
    assert "\n2 submissions on the leaderboard of no file in the ledger\n" in text


def test_a_ref_of_another_competition_is_a_stranger(entries: list[Entry]) -> None:
    here, there = join_ledger(with_refs(entries[:1]), [("elsewhere", submission_of(101, 0.9))], {})
    assert here.rows[0].submission is None and here.unknown == 0
    assert (there.competition, there.rows, there.unknown) == ("elsewhere", [], 1)


def test_a_file_entered_twice_is_one_row_and_its_newest_entry_counts(entries: list[Entry]) -> None:
    old = replace(entries[0], ref=101, cv_score=0.5)
    row = only(join_ledger([old, entries[0]], board_of(submission_of(101, 0.97928)), {}))
    assert row.entry == entries[0] and row.public is not None


def test_a_file_of_two_pipelines_is_two_rows_with_one_score(entries: list[Entry]) -> None:
    twin = replace(entries[0], pipeline="twin")
    [comparison] = join_ledger([replace(entries[0], ref=101), twin], board_of(submission_of(101, 0.9)), {})
    assert [row.public and row.public.value for row in comparison.rows] == [0.9, 0.9]


@pytest.mark.parametrize(
    "again", [submission_of(103, status="pending"), submission_of(103, status="error"), submission_of(103)]
)
def test_sent_again_it_keeps_its_score_until_there_is_a_newer(
    entries: list[Entry], again: Submission
) -> None:
    twice = [replace(entries[0], ref=101), replace(entries[0], ref=103)]
    row = only(join_ledger(twice, board_of(again, submission_of(101, 0.9)), {}))
    assert row.submission == submission_of(101, 0.9)
    row = only(join_ledger(twice, board_of(submission_of(103, 0.91), submission_of(101, 0.9)), {}))
    assert row.submission == submission_of(103, 0.91)


def test_of_two_scores_the_one_sent_later_counts(entries: list[Entry]) -> None:
    """Whatever their numbers."""
    twice = [replace(entries[0], ref=101), replace(entries[0], ref=103)]
    later = submission_of(101, 0.9, time="2026-11-23T00:00:00Z")
    assert only(join_ledger(twice, board_of(submission_of(103, 0.91), later), {})).submission == later


# ---------------------------------------------------------------- numbers by hand


def agresti_coull(share: float, rows: int) -> float:
    shrunk = (share * rows + 2) / (rows + 4)
    return math.sqrt(shrunk * (1 - shrunk) / (rows + 4))


@pytest.mark.parametrize(
    ("share", "behind_public", "behind_private"),
    [(1.0, 28_000, 28_000), (0.25, 7000, 21_000), (0.00001, 1, 27_999)],
)
def test_errors_are_binomial_by_the_rows_behind_a_score(
    entries: list[Entry], share: float, behind_public: int, behind_private: int
) -> None:
    row = only(
        join_ledger(with_refs(entries[:1]), board_of(submission_of(101, 0.98, private=0.97)), {DIGITS: share})
    )
    for score, value, rows in [(row.public, 0.98, behind_public), (row.private, 0.97, behind_private)]:
        assert score is not None and (score.value, score.rows) == (value, rows)
        assert score.standard_error == pytest.approx(agresti_coull(value, rows), rel=1e-12)


@pytest.mark.parametrize(("hidden", "behind"), [({DIGITS: 500_000}, 500_000), ({}, 28_000)])
def test_scores_of_kernels_go_by_the_rows_that_are_hidden(
    entries: list[Entry], hidden: dict[str, int], behind: int
) -> None:
    """A sample submission of a competition that takes notebooks only has a few of them; that is said."""
    [entry] = with_refs(entries[:1])
    board, run = board_of(submission_of(101, 0.98)), replace(entry, kernel="me/infer/1")
    [comparison] = join_ledger([run], board, {}, hidden)
    assert comparison.rows[0].public and comparison.rows[0].public.rows == behind
    assert ("go by 28,000 test rows" in render_board([comparison])) == (not hidden)
    [comparison] = join_ledger([entry], board, {})
    assert comparison.note == ""


def test_the_difference_has_the_errors_of_both(entries: list[Entry]) -> None:
    row = only(join_ledger(with_refs(entries[:1]), board_of(submission_of(101, 0.97928)), {DIGITS: 0.25}))
    assert row.difference is not None
    assert row.difference.value == pytest.approx(0.97928 - 0.987595)
    # sqrt(0.000541^2 + sqrt(0.97928 0.02072 / 7000)^2): the textbook's, within the four rows put on top
    assert row.difference.standard_error == pytest.approx(0.001785, rel=0.01)
    assert row.verdict == "lower than chance explains"


def test_a_score_is_held_against_what_was_expected(entries: list[Entry]) -> None:
    entry = replace(with_refs(entries[:1])[0], expected_score=0.99, expected_standard_error=0.002)
    row = only(join_ledger([entry], board_of(submission_of(101, 0.98)), {}))
    assert row.difference is not None and row.difference.value == pytest.approx(-0.01)


@pytest.mark.parametrize(
    ("errors", "verdict"),
    [
        (-2.1, "lower than chance explains"),
        (-1.9, "chance"),
        (0, "chance"),
        (1.9, "chance"),
        (2.1, "higher than chance explains"),
    ],
)
def test_two_standard_errors_are_chance(entries: list[Entry], errors: float, verdict: str) -> None:
    cv, test_rows = 0.5, 10_000
    entry = replace(entries[0], cv_score=cv, cv_standard_error=0.005, test_rows=test_rows, ref=101)
    public = cv + errors * math.hypot(0.005, 0.005)
    assert only(join_ledger([entry], board_of(submission_of(101, public)), {})).verdict == verdict


def test_a_solution_stands_in_the_place_of_the_public_score(entries: list[Entry]) -> None:
    [comparison] = join_ledger(entries[4:], [], {})
    [row] = comparison.rows
    assert row.public is None and row.leaderboard == row.solution and row.leaderboard is not None
    assert (row.leaderboard.value, row.leaderboard.rows) == (0.995714, 7000)
    assert row.verdict == "chance" and row.status == "solution.csv"
    assert render_board([comparison]).splitlines() == [
        "digit-adder",
        "pipeline     voter              CV        solution   solution - CV  which is  CV rank  solution rank"
        "  status",
        "-----------  -----  --------------  --------------  --------------  --------  -------  -------------"
        "  ------------",
        "digit-adder  cnn    99.55 ± 0.04 %  99.57 ± 0.08 %  +0.026 ± 0.088  chance          1              1"
        "  solution.csv",
        "1 scored row, too few for a rank correlation",
        "",
        "± is one standard error; up to two of them from 0 is what chance explains",
    ]


def rank_files(entries: list[Entry], ours: Sequence[float], theirs: Sequence[float]) -> LeaderboardComparison:
    """Files that scored so in cross-validation and on the leaderboard."""
    files = [
        replace(entries[0], pipeline=f"p{number}", cv_score=score, sha256=f"{number:064}", ref=number)
        for number, score in enumerate(ours)
    ]
    [comparison] = join_ledger(
        files, board_of(*(submission_of(number, score) for number, score in enumerate(theirs))), {}
    )
    return comparison


def test_ranks_and_their_correlation(entries: list[Entry]) -> None:
    comparison = rank_files(entries, [0.9, 0.8, 0.7, 0.6, 0.5], [0.85, 0.95, 0.75, 0.55, 0.65])
    assert [(row.cv_rank, row.leaderboard_rank) for row in comparison.rows] == [
        (1, 2),
        (2, 1),
        (3, 3),
        (4, 5),
        (5, 4),
    ]
    # 1 - 6 (1 + 1 + 0 + 1 + 1) / (5 (25 - 1))
    assert comparison.rank_correlation == pytest.approx(0.8)
    assert "rank correlation (Spearman) +0.80, of 5 scored rows\n" in render_board([comparison])


def test_equal_scores_share_a_rank(entries: list[Entry]) -> None:
    comparison = rank_files(entries, [0.9, 0.8, 0.7, 0.6], [0.5, 0.8, 0.8, 0.1])
    assert [row.leaderboard_rank for row in comparison.rows] == [3, 1, 1, 4]
    # Pearson's of the ranks 1 2 3 4 and 3 1.5 1.5 4: 1.5 / sqrt(5 * 4.5)
    assert comparison.rank_correlation == pytest.approx(1.5 / math.sqrt(5 * 4.5))


def test_ranks_that_say_nothing(entries: list[Entry]) -> None:
    two = rank_files(entries, [0.9, 0.8], [0.5, 0.6])
    assert two.rank_correlation is None
    assert "2 scored rows, too few for a rank correlation\n" in render_board([two])
    alike = rank_files(entries, [0.9, 0.8, 0.7], [0.5, 0.5, 0.5])
    assert alike.rank_correlation is None
    assert "no rank correlation of 3 scored rows: the scores are all alike\n" in render_board([alike])


# ---------------------------------------------------------------- shown


@pytest.mark.parametrize(
    ("submission", "status"),
    [
        (None, "not sent"),
        (submission_of(104, status="pending"), "pending"),
        (submission_of(104, status="pending", public=0.9), "pending"),
        (
            submission_of(104, status="error", error="Submission has\n10 rows"),
            "error: Submission has 10 rows",
        ),
        (submission_of(104, status="error", public=0.9), "error: Kaggle does not say why"),
        (submission_of(104), "no score"),
        (submission_of(104, private=0.9), "no score"),
    ],
)
def test_a_row_without_score_breaks_nothing(
    entries: list[Entry], submission: Submission | None, status: str
) -> None:
    scored = [submission_of(101, 0.97928), submission_of(102, 0.98757), submission_of(103, 0.99207)]
    board = [*scored, submission] if submission else scored
    [comparison] = join_ledger(with_refs(entries[:4]), board_of(*board), {})
    best = comparison.rows[0]
    assert best.entry.pipeline == "step4-cnn-x5" and best.status == status
    assert (best.cv_rank, best.leaderboard_rank, best.difference, best.verdict) == (None,) * 4
    assert [row.cv_rank for row in comparison.rows[1:]] == [1, 2, 3]
    assert comparison.rank_correlation == pytest.approx(1)
    text = render_board([comparison])
    assert f"99.69 ± 0.06 %  {' ' * 14}" in text and status in text and "of 3 scored rows" in text
    assert ("private" in text) == bool(submission and submission.private and status == "no score")


def test_two_competitions_side_by_side(entries: list[Entry]) -> None:
    board = [("digit-adder", submission_of(300, 0.4)), *board_of(submission_of(102, 0.98757))]
    text = render_board(join_ledger(with_refs(entries), board, {}))
    adder, digits, legend = text.split("\n\n")
    assert adder.splitlines()[0] == "digit-adder" and "digit-recognizer" not in adder
    assert "1 submission on the leaderboard of no file" in adder and "ledger" not in digits
    assert digits.splitlines()[0] == "digit-recognizer" and len(digits.splitlines()) == 3 + 4 + 1
    assert "one standard error" in legend


def test_a_trial_is_told_from_its_pipeline(entries: list[Entry]) -> None:
    trial = replace(entries[0], settings=("seed=1",), sha256="0" * 64)
    text = render_board(join_ledger([entries[0], trial], [], {}))
    assert "\nstep1-basic-cnn-sgd seed=1  vote: mean" in text


def test_nothing_is_sent_yet(entries: list[Entry]) -> None:
    text = render_board(join_ledger(entries[:2], [], {}))
    assert text.splitlines()[1].split() == ["pipeline", "voter", "CV", "status"]
    assert text.count("not sent") == 2 and "0 scored rows, too few" in text


def test_nothing_to_show(tmp_path: Path) -> None:
    assert render_board(join_ledger([], [], {})).startswith(
        "nothing to show: the ledger has no submission yet"
    )
    assert not draw_board(tmp_path / "board.png", []) and not list(tmp_path.iterdir())


def test_strangers_alone(entries: list[Entry], tmp_path: Path) -> None:
    comparisons = join_ledger([], board_of(submission_of(1, 0.5)), {})
    assert render_board(comparisons).startswith("digit-recognizer\n1 submission on the leaderboard of no")
    assert not draw_board(tmp_path / "board.png", comparisons)


@pytest.mark.slow
def test_a_board_of_45(entries: list[Entry], tmp_path: Path) -> None:
    """Written, read again, joined and drawn; every seventh has no score."""
    files = [
        replace(entries[0], pipeline=f"p{number}", cv_score=0.9 + number / 1000, sha256=f"{number:064}")
        for number in range(45)
    ]
    board = [
        submission_of(
            200 + number,
            None if number % 7 == 0 else 0.95 - abs(number - 20) / 1000,
            description=submission_message(file),
        )
        for number, file in enumerate(files)
    ]
    write_leaderboard(tmp_path / "leaderboard.csv", DIGITS, board)
    [comparison] = join_ledger(files, read_leaderboard(tmp_path / "leaderboard.csv"), {DIGITS: 0.5})
    assert len(comparison.rows) == 45 and len(comparison.scored) == 38 and comparison.unknown == 0
    pairs = [(row.entry.cv_score, row.public.value) for row in comparison.scored if row.public]
    assert comparison.rank_correlation == pytest.approx(spearmanr(*zip(*pairs, strict=True)).statistic)
    assert draw_board(tmp_path / "board.png", [comparison])
    assert Image.open(io.BytesIO((tmp_path / "board.png").read_bytes())).format == "PNG"
