"""softvote.ensembling.vote: what sums to 1, of classes, of several targets and of tags."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import expit, logit

from softvote.ensembling import vote
from softvote.errors import UserError
from softvote.task import Task

TAGS = Task(4, kind="tags")
TARGETS = Task(5, kind="targets", target_sizes=(3, 2))
WEIGHTS = np.array([0.2, 0.2, 0.6])

both_spaces = pytest.mark.parametrize("space", ["probability", "logit"])


def random_members(task: Task, members: int = 3, rows: int = 50) -> np.ndarray:
    """float32 (M, rows, K), uniform in each tag; drawn from the simplex in each target."""
    rng = np.random.default_rng(0)
    if not task.blocks:
        return rng.random((members, rows, task.num_classes), np.float32)
    parts = [rng.dirichlet(np.ones(size), (members, rows)) for size in task.target_sizes]
    return np.concatenate(parts, axis=2).astype(np.float32)


@both_spaces
@pytest.mark.parametrize("task", [TAGS, TARGETS], ids=["tags", "targets"])
def test_one_member_votes_as_it_is(task: Task, space: vote.Space) -> None:
    members = random_members(task, 1)
    voted = vote.soft_vote(members, np.ones(1), space, blocks=task.blocks)
    np.testing.assert_allclose(voted, members[0], atol=1e-6)


@both_spaces
def test_each_target_votes_by_itself(space: vote.Space) -> None:
    members = random_members(TARGETS)
    voted = vote.soft_vote(members, WEIGHTS, space, blocks=TARGETS.blocks)
    for block in TARGETS.blocks:
        np.testing.assert_allclose(voted[:, block], vote.soft_vote(members[:, :, block], WEIGHTS, space))


def test_tags_are_averaged_by_weight_in_either_space() -> None:
    members = random_members(TAGS)
    plain = np.einsum("m,mnk->nk", WEIGHTS, members)
    logits = expit(np.einsum("m,mnk->nk", WEIGHTS, logit(members.astype(np.float64))))
    np.testing.assert_allclose(vote.soft_vote(members, WEIGHTS, blocks=()), plain, atol=1e-6)
    np.testing.assert_allclose(vote.soft_vote(members, WEIGHTS, "logit", blocks=()), logits, atol=1e-6)


@both_spaces
def test_certain_tags_are_safe(space: vote.Space) -> None:
    sure, opposed = np.array([[1, 0, 1]], np.float32), np.array([[0, 0, 1]], np.float32)
    voted = vote.soft_vote([sure, opposed], np.array([0.5, 0.5]), space, blocks=())
    np.testing.assert_allclose(voted, [[0.5, 0, 1]], atol=1e-6)


@pytest.mark.parametrize(
    ("blocks", "row", "what"),
    [
        ((), [1.2, 0.5, 0, 0, 0], "row 3.*largest 1.2"),
        ((), [-0.1, 0.5, 0, 0, 0], "row 3.*smallest -0.1"),
        ((), [np.nan, 0.5, 0, 0, 0], "row 3.*smallest nan"),
        (TARGETS.blocks, [1, 0, 0, 0.7, 0.4], "row 3.*sum 1.1, in target 2"),
        (TARGETS.blocks, [0.5, 0.4, 0, 0.5, 0.5], "row 3.*sum 0.9, in target 1"),
        (Task(6, kind="targets", target_sizes=(3, 3)).blocks, [1, 0, 0, 1, 0], "5 columns, the targets 6"),
    ],
)
def test_what_holds_no_probabilities_is_named(blocks: vote.Blocks, row: list[float], what: str) -> None:
    members = np.tile(np.array([1, 0, 0, 1, 0], np.float32), (2, 5, 1))
    members[1, 3] = row
    with pytest.raises(UserError, match=f"member (two|one): .*{what}"):
        vote.check_members(members, ["one", "two"], blocks)


def test_a_single_tag_votes_and_a_single_class_does_not() -> None:
    one = np.full((2, 3, 1), 0.5, np.float32)
    assert vote.soft_vote(one, np.array([0.5, 0.5]), blocks=()).shape == (3, 1)
    with pytest.raises(UserError, match="two or more classes"):
        vote.soft_vote(one, np.array([0.5, 0.5]))
