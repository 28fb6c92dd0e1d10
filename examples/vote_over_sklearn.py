"""Vote over the probabilities of scikit-learn's models: softvote needs out-of-fold probabilities, no more.

Four classifiers on scikit-learn's 1,797 handwritten digits (8 x 8), five folds; the last 597 digits are a
test set that nothing is fitted on. Takes some seconds:

    python examples/vote_over_sklearn.py
"""

from __future__ import annotations

from sklearn.calibration import CalibratedClassifierCV
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import PredefinedSplit, StratifiedKFold, cross_val_predict
from sklearn.naive_bayes import GaussianNB
from sklearn.neighbors import KNeighborsClassifier
from sklearn.svm import SVC

import softvote as sv

MODELS = {
    "logistic": LogisticRegression(C=0.02, max_iter=300),
    "bayes": GaussianNB(var_smoothing=1e-2),
    "neighbours": KNeighborsClassifier(20),
    "svm": CalibratedClassifierCV(SVC(C=10), ensemble=False),
}


def main() -> None:
    images, labels = load_digits(return_X_y=True)
    images = images / 16
    train, test = slice(0, 1200), slice(1200, None)

    folds = PredefinedSplit(assign_folds(images[train], labels[train]))
    members = [
        cross_val_predict(model, images[train], labels[train], cv=folds, method="predict_proba")
        for model in MODELS.values()
    ]
    vote = sv.SoftVoting(rule="auto").fit(members, labels[train], folds.test_fold, names=list(MODELS))
    print(vote.table_)
    weights = ", ".join(f"{name} {weight:.2f}" for name, weight in zip(MODELS, vote.weights_, strict=True))
    print(f"chosen: {vote.rule_} ({weights})")

    tests = [model.fit(images[train], labels[train]).predict_proba(images[test]) for model in MODELS.values()]
    for name, probabilities in zip(MODELS, tests, strict=True):
        print(f"test, {name} alone: {(probabilities.argmax(axis=1) == labels[test]).mean():.2%}")
    print(f"test, vote: {vote.score(tests, labels[test]):.2%}")


def assign_folds(images, labels):
    """The fold of each row, as PredefinedSplit and softvote want it."""
    folds = labels.copy()
    for fold, (_, held_out) in enumerate(
        StratifiedKFold(5, shuffle=True, random_state=0).split(images, labels)
    ):
        folds[held_out] = fold
    return folds


if __name__ == "__main__":
    main()
