"""softvote.heads: every head has a loss and gives probabilities, and these are the right ones."""

from __future__ import annotations

import itertools
import math
from dataclasses import replace
from typing import Any, cast

import pytest
import torch
from scipy.stats import norm
from torch import Tensor
from torch.nn import functional

from softvote.heads import HEADS, create_head
from softvote.heads.base import Head, HeadSpec, TeachableHead
from softvote.heads.digits import DIGITS, log_probabilities_of_sum
from softvote.heads.regression import RegressionHead
from softvote.task import Task, TaskKind

SPECS: dict[TaskKind, list[HeadSpec]] = {
    "classes": [HeadSpec(2), HeadSpec(10, 1), HeadSpec(19, 2), HeadSpec(37, 4)],
    "ordered": [HeadSpec(2), HeadSpec(5)],
    "tags": [HeadSpec(1), HeadSpec(6)],
    "targets": [HeadSpec(9, target_sizes=(2, 3, 4))],
}
CASES = [
    (name, spec)
    for name, head in HEADS.items()
    for spec in SPECS[head.kinds[0]]
    if spec.hidden_digits or not head.needs_hidden_digits
]
ROWS = 50

heads = pytest.mark.parametrize(
    ("name", "spec"), CASES, ids=[f"{name}-{spec.num_values}" for name, spec in CASES]
)
hidden = pytest.mark.parametrize("hidden_digits", [1, 2, 3, 4])


def of_digits(name: str, hidden_digits: int) -> Any:
    return create_head(name, HeadSpec(9 * hidden_digits + 1, hidden_digits))


def outputs_of(num_outputs: int, rows: int = ROWS, scale: float = 3.0) -> Tensor:
    return torch.randn(rows, num_outputs, generator=torch.Generator().manual_seed(0)) * scale


def task_of(name: str, spec: HeadSpec) -> Task:
    return Task(spec.num_values, spec.hidden_digits, False, HEADS[name].kinds[0], spec.target_sizes)


def truth_of(spec: HeadSpec, rows: int = ROWS, name: str = "softmax") -> tuple[Tensor, Tensor | None]:
    """Values int64 (rows,), and the digits int64 (rows, S) that they are sums of; or tags, or targets."""
    if name == "tags":
        return (torch.arange(rows)[:, None] % torch.arange(2, spec.num_values + 2) == 0).long(), None
    if name == "targets":
        return torch.arange(rows)[:, None] % torch.tensor(spec.target_sizes), None
    if spec.hidden_digits is None:
        return torch.arange(rows) % spec.num_values, None
    drawn = torch.Generator().manual_seed(1)
    digits = torch.randint(DIGITS, (rows, spec.hidden_digits), generator=drawn)
    return digits.sum(1), digits


def are_probabilities(found: Tensor, task: Task) -> bool:
    """Whether all are in 0..1, and what is to sum to 1 does."""
    sums = [found[:, block].sum(1) for block in task.blocks]
    one = torch.ones(len(found))
    within = bool(((found >= 0) & (found <= 1 + 1e-6)).all())
    return within and all(torch.allclose(each, one, rtol=0, atol=1e-5) for each in sums)


# ---------------------------------------------------------------- every head


@heads
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_probabilities_are_float32_rows_that_sum_to_one(
    name: str, spec: HeadSpec, dtype: torch.dtype
) -> None:
    head = create_head(name, spec)
    found = head.probabilities(outputs_of(head.num_outputs).to(dtype))
    assert found.shape == (ROWS, spec.num_values) and found.dtype == torch.float32
    assert are_probabilities(found, task_of(name, spec))


@heads
@pytest.mark.parametrize("scale", [0.0, 1e4, 1e5])
def test_extreme_outputs_stay_probabilities(name: str, spec: HeadSpec, scale: float) -> None:
    head = create_head(name, spec)
    found = head.probabilities(outputs_of(head.num_outputs, scale=scale))
    assert found.isfinite().all() and are_probabilities(found, task_of(name, spec))


@heads
@pytest.mark.parametrize("scale", [1e4, -1e4, 1e5])
def test_extreme_outputs_have_a_loss_and_gradients(name: str, spec: HeadSpec, scale: float) -> None:
    """Also where everything is staked on what is not so: every output is plus or minus `scale`."""
    head, (values, digits) = create_head(name, spec), truth_of(spec, name=name)
    outputs = (outputs_of(head.num_outputs).sign() * scale).requires_grad_()
    loss = head.loss(outputs, values, digits)
    (gradient,) = torch.autograd.grad(loss, outputs)
    assert loss.isfinite() and gradient.isfinite().all()
    assert gradient.abs().sum() > 0


@heads
@pytest.mark.parametrize("smoothing", [0.0, pytest.param(0.1, marks=pytest.mark.slow)])
def test_the_loss_can_be_descended_to_the_labels(name: str, spec: HeadSpec, smoothing: float) -> None:
    head, task = create_head(name, replace(spec, label_smoothing=smoothing)), task_of(name, spec)
    (values, digits), outputs = truth_of(spec, name=name), outputs_of(head.num_outputs).requires_grad_()
    # Where the loss is a mean of several, and a step so much smaller.
    rate = 20 * (DIGITS if name == "digit_set" else math.prod(task.label_shape))
    first = head.loss(outputs, values, digits)
    assert first.shape == () and first.dtype == torch.float32
    for _ in range(300):
        loss = head.loss(outputs, values, digits)
        (gradient,) = torch.autograd.grad(loss, outputs)
        outputs = (outputs - rate * gradient).detach().requires_grad_()
    assert loss < first / 2
    if name == "digit_set" and digits is not None and digits.shape[1] > 2:
        present = torch.zeros_like(outputs).scatter(1, digits, 1.0)  # one set can make several sums
        assert torch.equal((outputs > 0).float(), present)
    else:
        assert (task.name(head.probabilities(outputs.detach()).numpy()) == values.numpy()).all()


@heads
def test_the_loss_is_a_mean_over_rows(name: str, spec: HeadSpec) -> None:
    head, (values, digits) = create_head(name, spec), truth_of(spec, name=name)
    outputs = outputs_of(head.num_outputs)

    def loss_of(row: int) -> Tensor:
        own = slice(row, row + 1)
        return head.loss(outputs[own], values[own], None if digits is None else digits[own])

    each = torch.stack([loss_of(row) for row in range(ROWS)])
    torch.testing.assert_close(head.loss(outputs, values, digits), each.mean())


@heads
def test_the_gradient_is_that_of_the_loss(name: str, spec: HeadSpec) -> None:
    """Against central differences."""
    head, (values, digits) = create_head(name, spec), truth_of(spec, 3, name)
    outputs = outputs_of(head.num_outputs, 3, 1.0).requires_grad_()
    (gradient,) = torch.autograd.grad(head.loss(outputs, values, digits), outputs)
    step, differences = 2e-2, torch.zeros_like(gradient)
    for place in itertools.product(*map(range, outputs.shape)):
        nudge = torch.zeros_like(gradient)
        nudge[place] = step
        up, down = (head.loss(outputs.detach() + sign * nudge, values, digits) for sign in (1, -1))
        differences[place] = (up - down) / (2 * step)
    torch.testing.assert_close(gradient, differences, rtol=2e-3, atol=3e-4)


@heads
def test_what_a_head_measured_makes_it_again(name: str, spec: HeadSpec) -> None:
    head, (values, _) = create_head(name, spec), truth_of(spec, name=name)
    outputs = outputs_of(head.num_outputs)
    fitted = head.calibrate(outputs, values)
    again = create_head(name, replace(spec, calibration=fitted.calibration()))
    assert torch.equal(again.probabilities(outputs), fitted.probabilities(outputs))
    assert bool(fitted.calibration()) == head.needs_calibration == (not torch.equal(
        fitted.probabilities(outputs), head.probabilities(outputs)
    ))  # fmt: skip
    assert not head.calibration()  # it is itself as it was


@pytest.mark.parametrize("name", ["digits", "digit_set"])
@pytest.mark.parametrize("spec", [HeadSpec(10), HeadSpec(10, 2), HeadSpec(19, 1), HeadSpec(38, 4)])
def test_values_that_are_no_sums_of_digits(name: str, spec: HeadSpec) -> None:
    with pytest.raises(ValueError, match=f"{spec.num_values} values are not the sums of"):
        create_head(name, spec)


# ---------------------------------------------------------------- softmax


def test_softmax_is_cross_entropy_in_nats() -> None:
    head = create_head("softmax", HeadSpec(4))
    assert head.loss(torch.zeros(3, 4), torch.tensor([0, 1, 2])).item() == pytest.approx(math.log(4))
    outputs, labels = outputs_of(4), torch.arange(ROWS) % 4
    chosen = head.probabilities(outputs)[torch.arange(ROWS), labels]
    torch.testing.assert_close(head.loss(outputs, labels), -chosen.log().mean())


def test_label_smoothing_spreads_its_share_evenly() -> None:
    outputs, labels = outputs_of(4), torch.arange(ROWS) % 4
    logs = torch.log_softmax(outputs, 1)
    expected = -(0.8 * logs[torch.arange(ROWS), labels] + 0.2 * logs.mean(1)).mean()
    head = create_head("softmax", HeadSpec(4, label_smoothing=0.2))
    torch.testing.assert_close(head.loss(outputs, labels), expected)


def test_softmax_has_no_use_for_digits() -> None:
    spec = HeadSpec(19, 2)
    head, (values, digits) = create_head("softmax", spec), truth_of(spec)
    outputs = outputs_of(head.num_outputs)
    assert torch.equal(head.loss(outputs, values, digits), head.loss(outputs, values))


# ---------------------------------------------------------------- regression


def regression(num_values: int, width: float | None = None) -> RegressionHead:
    calibration = None if width is None else {"width": width}
    head: Head = create_head("regression", HeadSpec(num_values, calibration=calibration))
    assert isinstance(head, RegressionHead)
    return head


def outputs_for(numbers: Tensor, num_values: int) -> Tensor:
    """The outputs (n, 1) that mean these numbers."""
    return (numbers - (num_values - 1) / 2)[:, None]


def test_an_untrained_network_means_the_middle() -> None:
    assert regression(37).numbers(torch.zeros(2, 1)).tolist() == [18.0, 18.0]
    assert regression(10).numbers(torch.tensor([[0.5]])).tolist() == [5.0]


def test_regression_is_squared_error() -> None:
    numbers, values = torch.tensor([3.5, 0.0, -2.0]), torch.tensor([3, 2, 0])
    assert regression(10).loss(outputs_for(numbers, 10), values).item() == pytest.approx((0.25 + 4 + 4) / 3)


@pytest.mark.parametrize("width", [0.05, 0.4, 1.0, 6.0])
@pytest.mark.parametrize("mean", [-3.2, 0.0, 4.5, 7.31, 9.0, 14.0])
def test_a_value_has_what_is_nearest_to_it_and_the_ends_take_the_tails(width: float, mean: float) -> None:
    found = regression(10, width).probabilities(outputs_for(torch.tensor([mean]), 10))[0]
    borders = [-math.inf, *(value + 0.5 for value in range(9)), math.inf]
    cumulated = norm(mean, width).cdf(borders)
    for value in range(10):
        assert found[value].item() == pytest.approx(cumulated[value + 1] - cumulated[value], abs=1e-5)


def test_small_shares_are_as_right_above_the_mean_as_below() -> None:
    found = regression(11, 0.7).probabilities(outputs_for(torch.tensor([5.2]), 11))[0]
    below = norm(5.2, 0.7).cdf([0.5, 1.5]), norm(5.2, 0.7).sf([9.5, 8.5])
    for shares, one, next_to_it in ((below[0], 0, 1), (below[1], 10, 9)):
        assert found[one].item() == pytest.approx(shares[0], rel=1e-4)
        assert found[next_to_it].item() == pytest.approx(shares[1] - shares[0], rel=1e-4)


@pytest.mark.parametrize("width", [1e-6, 1e-3, 0.02, 1e3])
def test_narrow_and_wide_distributions_far_outside_sum_to_one(width: float) -> None:
    means = torch.tensor([-1e5, -20.0, 0.0, 0.5, 3.4999, 36.0, 37.0, 1e5])
    found = regression(37, width).probabilities(outputs_for(means, 37))
    assert found.isfinite().all() and are_probabilities(found, Task(37))
    if width < 1:
        assert found.argmax(1)[[0, 1, 2, 5, 6, 7]].tolist() == [0, 0, 0, 36, 36, 36]


@pytest.mark.parametrize("width", [0.3, 1.0, 3.0])
def test_the_width_is_recovered_from_errors(width: float) -> None:
    drawn = torch.Generator().manual_seed(2)
    numbers = torch.rand(6_000, generator=drawn) * 36
    errors = torch.randn(6_000, generator=drawn) * width
    values = (numbers + errors).round().clamp(0, 36).long()
    fitted = regression(37).calibrate(outputs_for(numbers, 37), values)
    assert fitted.calibration()["width"] == pytest.approx(width, rel=0.03)


def test_the_width_makes_the_values_most_probable() -> None:
    """Whatever the errors are like; here they are not normal."""
    values = torch.arange(300) % 10
    numbers = values + torch.rand(300, generator=torch.Generator().manual_seed(3)) ** 2 * 2 - 0.4
    outputs = outputs_for(numbers, 10)

    def loss(width: float) -> float:
        each = regression(10, width).probabilities(outputs)
        return float(-each[torch.arange(300), values].log().mean())

    width = regression(10).calibrate(outputs, values).calibration()["width"]
    assert all(loss(width) < loss(width * other) for other in (0.7, 0.9, 1.1, 1.4))


def test_errors_are_measured_on_the_raw_numbers() -> None:
    numbers = torch.tensor([-1.5, 0.4, 2.0, 4.6, 11.0])
    values = torch.tensor([0, 1, 2, 5, 9])
    facts = regression(10).calibrate(outputs_for(numbers, 10), values).calibration()
    assert facts["mse"] == pytest.approx((1.5**2 + 0.6**2 + 0 + 0.4**2 + 2**2) / 5)
    assert facts["mae"] == pytest.approx((1.5 + 0.6 + 0 + 0.4 + 2) / 5)
    assert facts["rounded_accuracy"] == pytest.approx(4 / 5)  # beyond the ends means the ends


@pytest.mark.parametrize("off", [0.0, 1000.0])
def test_errors_without_spread_or_beyond_measure_give_a_width(off: float) -> None:
    values = torch.arange(10)
    fitted = regression(10).calibrate(outputs_for(values + off, 10), values)
    assert 0.01 < fitted.calibration()["width"] <= 10
    assert are_probabilities(fitted.probabilities(outputs_for(values + off, 10)), Task(10))


# ---------------------------------------------------------------- digits


def combinations(hidden_digits: int) -> Tensor:
    """All 10^S of them, int64 (10^S, S)."""
    return torch.tensor(list(itertools.product(range(DIGITS), repeat=hidden_digits)))


def sum_over(weights: Tensor, combined: Tensor) -> Tensor:
    """Weights float (B, 10^S) of combinations, added up by what the combinations sum to."""
    totals = torch.zeros(len(weights), 9 * combined.shape[1] + 1, dtype=weights.dtype)
    return totals.index_add(1, combined.sum(1), weights)


@hidden
@pytest.mark.parametrize("scale", [0.0, 1.0, 5.0])
def test_the_digits_head_adds_up_all_combinations(hidden_digits: int, scale: float) -> None:
    head, combined = of_digits("digits", hidden_digits), combinations(hidden_digits)
    outputs = outputs_of(head.num_outputs, 6, scale)
    each = outputs.double().view(6, hidden_digits, DIGITS).softmax(2)
    weights = torch.stack([each[:, s, combined[:, s]] for s in range(hidden_digits)]).prod(0)
    expected = sum_over(weights, combined)
    torch.testing.assert_close(head.probabilities(outputs), expected.float(), rtol=1e-4, atol=1e-7)
    values = torch.arange(6) * 3 % head_values(hidden_digits)
    loss = -expected.log().gather(1, values[:, None]).mean()
    torch.testing.assert_close(head.loss(outputs, values), loss.float(), rtol=1e-5, atol=1e-5)


def head_values(hidden_digits: int) -> int:
    return 9 * hidden_digits + 1


@hidden
def test_the_convolution_and_its_gradient_in_double_precision(hidden_digits: int) -> None:
    logits = outputs_of(hidden_digits * DIGITS, 2, 2.0).double().view(2, hidden_digits, DIGITS)
    found = log_probabilities_of_sum(logits.log_softmax(2))
    assert found.dtype == torch.float64 and found.shape == (2, head_values(hidden_digits))
    torch.testing.assert_close(found.exp().sum(1), torch.ones(2, dtype=torch.float64))
    assert torch.autograd.gradcheck(
        lambda outputs: log_probabilities_of_sum(outputs.log_softmax(2)), logits.requires_grad_()
    )


@hidden
def test_digits_that_are_sure_give_their_sum(hidden_digits: int) -> None:
    head, (values, digits) = of_digits("digits", hidden_digits), truth_of(HeadSpec(0, hidden_digits))
    assert digits is not None
    outputs = 1e4 * functional.one_hot(digits, DIGITS).flatten(1).float()
    torch.testing.assert_close(
        head.probabilities(outputs), functional.one_hot(values, head_values(hidden_digits)).float()
    )
    assert head.loss(outputs, values, digits).item() == pytest.approx(0, abs=1e-5)


@hidden
def test_the_loss_of_a_sum_that_seems_impossible_shows_the_way(hidden_digits: int) -> None:
    """All digits are taken for nines, the sum is nothing: a step down makes zeros likelier."""
    head = of_digits("digits", hidden_digits)
    outputs = torch.zeros(1, hidden_digits, DIGITS)
    outputs[:, :, 9] = 1e4
    outputs = outputs.flatten(1).requires_grad_()
    loss = head.loss(outputs, torch.tensor([0]))
    (gradient,) = torch.autograd.grad(loss, outputs)
    gradient = gradient.view(hidden_digits, DIGITS)
    assert loss.item() == pytest.approx(1e4 * hidden_digits, rel=1e-4)
    assert (gradient[:, 0] < -0.5).all() and (gradient[:, 9] > 0.5).all()


@hidden
@pytest.mark.parametrize("known", ["all", "some", "none"])
def test_known_digits_add_their_cross_entropy_and_unknown_ones_nothing(
    hidden_digits: int, known: str
) -> None:
    head, (values, digits) = of_digits("digits", hidden_digits), truth_of(HeadSpec(0, hidden_digits))
    assert digits is not None
    outputs = outputs_of(head.num_outputs)
    named = torch.arange(ROWS) % {"all": 1, "some": 3, "none": ROWS + 1}[known] == 0
    named &= torch.tensor(known != "none")
    told = torch.where(named[:, None], digits, -1)
    logits = outputs.view(ROWS, hidden_digits, DIGITS)[named].flatten(0, 1)
    added = functional.cross_entropy(logits, digits[named].flatten(), reduction="sum") / ROWS
    expected = head.loss(outputs, values) + added
    torch.testing.assert_close(head.loss(outputs, values, told), expected)
    assert (added == 0) == (known == "none")


def test_unknown_digits_get_no_gradient_of_their_own() -> None:
    head, (values, _) = of_digits("digits", 2), truth_of(HeadSpec(0, 2))
    outputs = outputs_of(20).requires_grad_()
    alone, told = (
        torch.autograd.grad(head.loss(outputs, values, digits), outputs)[0]
        for digits in (None, torch.full((ROWS, 2), -1))
    )
    assert torch.equal(alone, told)


def test_a_sum_does_not_say_which_digit_is_which() -> None:
    head, (values, _) = of_digits("digits", 2), truth_of(HeadSpec(0, 2))
    outputs = outputs_of(20)
    swapped = outputs.view(ROWS, 2, DIGITS).flip(1).flatten(1)
    torch.testing.assert_close(head.probabilities(outputs), head.probabilities(swapped))
    torch.testing.assert_close(head.loss(outputs, values), head.loss(swapped, values))


# ---------------------------------------------------------------- a set of digits


@hidden
@pytest.mark.parametrize("scale", [0.0, 1.0, 5.0])
def test_a_set_of_digits_weighs_all_combinations(hidden_digits: int, scale: float) -> None:
    """Bayes: a combination is as probable as what is seen of its set of digits, one by one."""
    head, combined = of_digits("digit_set", hidden_digits), combinations(hidden_digits)
    outputs = outputs_of(DIGITS, 6, scale)
    present = torch.zeros(len(combined), DIGITS, dtype=torch.float64).scatter(1, combined, 1.0)
    before = present.mean(0)  # how often a digit is present
    seen = outputs.double().sigmoid()
    likelihoods = (seen / before).log() @ present.T + ((1 - seen) / (1 - before)).log() @ (1 - present).T
    expected = sum_over(likelihoods.softmax(1), combined)
    torch.testing.assert_close(head.probabilities(outputs), expected.float(), rtol=1e-3, atol=1e-6)


@hidden
def test_without_evidence_every_combination_is_as_probable(hidden_digits: int) -> None:
    head, combined = of_digits("digit_set", hidden_digits), combinations(hidden_digits)
    present = 1 - 0.9**hidden_digits
    nothing_seen = torch.full((1, DIGITS), math.log(present / (1 - present)))
    expected = sum_over(torch.full((1, len(combined)), 1 / len(combined)), combined)
    torch.testing.assert_close(head.probabilities(nothing_seen), expected, rtol=1e-4, atol=1e-7)


@hidden
def test_the_loss_of_a_set_of_digits_is_that_of_ten_questions(hidden_digits: int) -> None:
    head, (values, digits) = of_digits("digit_set", hidden_digits), truth_of(HeadSpec(0, hidden_digits))
    assert digits is not None
    outputs = outputs_of(DIGITS)
    present = torch.tensor([[float(digit in row) for digit in range(DIGITS)] for row in digits.tolist()])
    expected = -(present * functional.logsigmoid(outputs) + (1 - present) * functional.logsigmoid(-outputs))
    torch.testing.assert_close(head.loss(outputs, values, digits), expected.mean())


def test_rows_whose_digits_are_unknown_teach_a_set_of_digits_nothing() -> None:
    head, (values, digits) = of_digits("digit_set", 2), truth_of(HeadSpec(0, 2))
    assert digits is not None
    outputs = outputs_of(DIGITS).requires_grad_()
    known = torch.arange(ROWS) % 3 == 0
    loss = head.loss(outputs, values, torch.where(known[:, None], digits, -1))
    torch.testing.assert_close(loss, head.loss(outputs[known], values[known], digits[known]))
    (gradient,) = torch.autograd.grad(loss, outputs)
    assert not gradient[~known].any() and gradient[known].any()
    assert head.loss(outputs, values, torch.full((ROWS, 2), -1)).item() == 0


def test_sums_alone_cannot_teach_a_set_of_digits() -> None:
    with pytest.raises(ValueError, match="cannot be learned from sums alone"):
        of_digits("digit_set", 2).loss(outputs_of(DIGITS), torch.zeros(ROWS, dtype=torch.int64))


def test_a_single_digit_is_known_from_the_value() -> None:
    head, (values, digits) = of_digits("digit_set", 1), truth_of(HeadSpec(0, 1))
    outputs = outputs_of(DIGITS)
    expected = head.loss(outputs, values, digits)
    assert torch.equal(head.loss(outputs, values), expected)
    assert torch.equal(head.loss(outputs, values, torch.full((ROWS, 1), -1)), expected)


# ---------------------------------------------------------------- a teacher's probabilities

taught = pytest.mark.parametrize(
    ("name", "spec"),
    [case for case in CASES if HEADS[case[0]].takes_teacher],
    ids=[f"{name}-{spec.num_values}" for name, spec in CASES if HEADS[name].takes_teacher],
)


@heads
def test_losses_of_rows_have_the_mean_that_is_trained_on(name: str, spec: HeadSpec) -> None:
    head, (values, digits) = create_head(name, replace(spec, label_smoothing=0.1)), truth_of(spec, name=name)
    outputs = outputs_of(head.num_outputs)
    rows = head.loss(outputs, values, digits, reduction="none")
    assert rows.shape == (ROWS,)
    torch.testing.assert_close(rows.mean(), head.loss(outputs, values, digits))
    torch.testing.assert_close(
        rows[:3],
        head.loss(outputs[:3], values[:3], digits if digits is None else digits[:3], reduction="none"),
    )


@taught
@pytest.mark.parametrize("temperature", [1.0, 3.0])
def test_soft_loss_is_least_where_student_and_teacher_agree(
    name: str, spec: HeadSpec, temperature: float
) -> None:
    head = cast(TeachableHead, create_head(name, spec))
    theirs, mine = outputs_of(head.num_outputs), outputs_of(head.num_outputs, 2 * ROWS)[ROWS:]
    wanted = head.probabilities(theirs)
    least, other = (head.soft_loss(outputs, wanted, temperature) for outputs in (theirs, mine))
    assert least.shape == (ROWS,) and least.dtype == torch.float32
    assert (least <= other + 1e-4).all() and least.mean() < other.mean() - 0.01
    outputs = theirs.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(head.soft_loss(outputs, wanted, temperature).mean(), outputs)
    assert gradient.abs().max() < 1e-3


@taught
def test_a_teacher_who_is_sure_is_a_label(name: str, spec: HeadSpec) -> None:
    """At temperature 1, and where digits are known by their sum alone."""
    head, (values, _) = cast(TeachableHead, create_head(name, spec)), truth_of(spec, name=name)
    outputs = outputs_of(head.num_outputs)
    wanted = torch.from_numpy(task_of(name, spec).columns(values.numpy())).float()
    torch.testing.assert_close(
        head.soft_loss(outputs, wanted, 1.0), head.loss(outputs, values, reduction="none")
    )


@pytest.mark.parametrize("name", ["softmax", "tags"])
def test_gradients_stay_as_large_when_it_is_hot(name: str) -> None:
    """Hinton, Vinyals and Dean: at high temperatures they are differences of centred logits, over K."""
    head = cast(TeachableHead, create_head(name, HeadSpec(10)))
    theirs, mine = outputs_of(10, scale=1.0), outputs_of(10, 2 * ROWS, scale=1.0)[ROWS:].requires_grad_()
    loss = head.soft_loss(mine, head.probabilities(theirs), 100.0)
    (gradient,) = torch.autograd.grad(loss.sum(), mine)
    difference = mine - theirs
    if name == "softmax":
        expected = (difference - difference.mean(1, keepdim=True)) / 10
    else:
        expected = difference / 4 / 10
    torch.testing.assert_close(gradient, expected.detach(), rtol=0.1, atol=5e-3)
