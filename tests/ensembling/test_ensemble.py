"""ensembling.ensemble: from a folder to the trainings behind it, if they are still what it was made from."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from softvote.ensembling.ensemble import Ensemble, EnsembleMember, load_ensemble
from softvote.ensembling.predict import vote_of
from softvote.ensembling.predictions import Predictions, merge_folds, read_predictions, write_predictions
from softvote.ensembling.vote import Space, soft_vote
from softvote.errors import UserError
from softvote.storage.files import write_json
from softvote.storage.paths import FoldFolder, PredictionsFolder
from softvote.task import Task

WEIGHTS = {"a": 0.75, "b": 0.25}
LABELS = np.array([0, 1, 2, 0])


def predictions(seed: int, rows: list[int]) -> Predictions:
    draw = np.random.default_rng(seed)
    oof, test = (draw.dirichlet(np.ones(3), count).astype(np.float32) for count in (len(rows), 6))
    return Predictions(np.array(rows), oof, test)


@pytest.fixture
def vote(tmp_path: Path) -> PredictionsFolder:
    """An ensemble of two members on two folds each, without weights of networks."""
    members = []
    for index, name in enumerate(WEIGHTS):
        member = PredictionsFolder(tmp_path / name)
        parts = [predictions(10 * index + fold, [fold, fold + 2]) for fold in (0, 1)]
        for fold, part in enumerate(parts):
            write_predictions(member.fold(fold), part, LABELS, Task(3), "")
            write_json(member.fold(fold).recipe, {"member": {}})
        members.append(merge_folds(parts))
        write_predictions(member, members[-1], LABELS, Task(3), "")
    folder, weights = PredictionsFolder(tmp_path / "vote"), np.array(list(WEIGHTS.values()))
    oof, test = (soft_vote([getattr(m, part) for m in members], weights, "logit") for part in ("oof", "test"))
    write_predictions(folder, Predictions(members[0].rows, oof, test), LABELS, Task(3), "")
    write_json(folder.vote, {"rule": "mean_logits", "space": "logit", "weights": WEIGHTS})
    return folder


def test_an_ensemble(vote: PredictionsFolder) -> None:
    found = load_ensemble(vote.path)
    assert (found.name, found.rule, found.space) == ("vote", "mean_logits", "logit")
    assert {member.name: member.weight for member in found.members} == WEIGHTS
    assert [[fold.path.name for fold in member.folds] for member in found.members] == [["fold0", "fold1"]] * 2


def test_a_member_and_a_fold(vote: PredictionsFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    member = load_ensemble(vote.path.parent / "a")
    assert (member.name, member.rule, len(member.members), len(member.members[0].folds)) == ("a", "", 1, 2)
    (alone,) = load_ensemble(vote.path.parent / "a" / "fold1").members
    assert (alone.name, alone.weight, [fold.path.name for fold in alone.folds]) == ("a", 1.0, ["fold1"])
    monkeypatch.chdir(vote.path.parent / "a")
    assert load_ensemble(Path()).name == "a"


def test_members_without_weight_do_not_vote(vote: PredictionsFolder) -> None:
    tests = [read_predictions(PredictionsFolder(vote.path.parent / name)).test for name in WEIGHTS]
    alone = soft_vote(tests, np.array([0.0, 1.0]))
    write_predictions(vote, Predictions(np.arange(2), alone[:2], alone), LABELS, Task(3), "")
    write_json(vote.vote, {"rule": "greedy", "space": "probability", "weights": {"a": 0.0, "b": 1.0}})
    found = load_ensemble(vote.path)
    assert [member.name for member in found.members] == ["a", "b"]
    assert [member.name for member in found.voting] == ["b"]


def test_folds_are_in_their_order(vote: PredictionsFolder) -> None:
    for name in ("fold10", "fold2", "foldout", "fold1-repeat2", "fold0-repeat10", "fold0-repeat0", "fold0-x"):
        (vote.path.parent / "a" / name).mkdir()
    names = [fold.path.name for fold in PredictionsFolder(vote.path.parent / "a").folds()]
    assert names == ["fold0", "fold1", "fold2", "fold10", "fold1-repeat2", "fold0-repeat10"]


# ---------------------------------------------------------------- what is no longer so


def refusal_of(path: Path) -> str:
    with pytest.raises(UserError) as caught:
        load_ensemble(path)
    assert "\n" not in str(caught.value) and str(path.parent) in str(caught.value)
    return str(caught.value)


def test_nothing_there(vote: PredictionsFolder) -> None:
    (vote.path.parent / "empty").mkdir()
    assert "holds no model; name a program.pt2" in refusal_of(vote.path.parent / "empty")
    assert "holds no model" in refusal_of(vote.path.parent)


def test_an_unfinished_fold(vote: PredictionsFolder) -> None:
    FoldFolder(vote.path.parent / "a" / "fold1").test.unlink()
    assert "fold1 is unfinished or damaged; run the train stage" in refusal_of(vote.path.parent / "a")
    assert "fold1 is unfinished" in refusal_of(vote.path)


def test_a_fold_too_many(vote: PredictionsFolder) -> None:
    a = vote.path.parent / "a"
    shutil.copytree(a / "fold1", a / "fold2")
    assert "delete folds that the pipeline no longer trains" in refusal_of(a)


def test_a_fold_that_was_trained_again(vote: PredictionsFolder) -> None:
    member = PredictionsFolder(vote.path.parent / "b")
    write_predictions(member.fold(0), predictions(99, [0, 2]), LABELS, Task(3), "")
    assert "not the mean of the folds in it; run the train stage" in refusal_of(member.path)


def test_a_member_that_is_not_put_together(vote: PredictionsFolder) -> None:
    PredictionsFolder(vote.path.parent / "b").scores.unlink()
    assert "not the mean of the folds in it; run the train stage" in refusal_of(vote.path)


@pytest.mark.parametrize("change", [{"weights": {"a": 0.25, "b": 0.75}}, {"space": "probability"}])
def test_another_vote(vote: PredictionsFolder, change: dict[str, object]) -> None:
    write_json(vote.vote, json.loads(vote.vote.read_text()) | change)
    assert "is not the vote of the members beside it; run the ensemble stage" in refusal_of(vote.path)


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", '{"rule": "mean", "space": "logit", "weights": {"a": "x"}}']
)
def test_a_damaged_vote(vote: PredictionsFolder, text: str) -> None:
    vote.vote.write_text(text)
    assert "vote.json: is damaged; run the ensemble stage" in refusal_of(vote.path)


def test_out_of_fold_rows_of_another_training_are_noticed_where_test_rows_are_none(
    vote: PredictionsFolder,
) -> None:
    """Where there are no test rows, nothing else tells networks apart."""
    member = PredictionsFolder(vote.path.parent / "a")
    none = np.zeros((0, 3), np.float32)
    parts = [Predictions(*(part.rows, part.oof), none) for part in map(read_predictions, member.folds())]
    for folder, part in zip([*member.folds(), member], [*parts, merge_folds(parts)], strict=True):
        write_predictions(folder, part, LABELS, Task(3), "")
    assert load_ensemble(member.path).name == "a"
    anew = Predictions(parts[0].rows, parts[0].oof[::-1].copy(), none)
    write_predictions(member.fold(0), anew, LABELS, Task(3), "")
    assert "not the mean of the folds in it" in refusal_of(member.path)


def test_a_decision_goes_with_the_probabilities_that_it_was_fitted_to(vote: PredictionsFolder) -> None:
    write_json(vote.decision, {"decision": {"name": "argmax"}, "fitted": [0.5]})
    write_predictions(vote, read_predictions(vote), LABELS, Task(3), "")
    assert not vote.decision.exists()


@pytest.mark.parametrize("space", ["probability", "logit"])
def test_some_of_the_members_vote_by_their_own_weights(space: Space) -> None:
    """As where there is no time for the others."""
    members = [EnsembleMember(name, weight, []) for name, weight in zip("abc", (0.5, 0.3, 0.2), strict=True)]
    each = list(np.random.default_rng(0).dirichlet(np.ones(3), (2, 6)).astype(np.float32))
    found = vote_of(Ensemble("vote", members, "greedy", space), members[:2], each)
    np.testing.assert_allclose(found, soft_vote(each, np.array([0.625, 0.375]), space), atol=1e-6)
