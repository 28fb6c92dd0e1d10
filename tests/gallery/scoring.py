"""The competitions' metrics over CSV files alone, from what their pages say: nothing of softvote is asked."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from gallery.download import Rows
from numpy.typing import NDArray
from sklearn.metrics import cohen_kappa_score, f1_score, fbeta_score, recall_score, roc_auc_score

Scorer = Callable[[Rows, Rows], float]
"""Takes the rows of a submission and of the solution, both without their header and in one order."""


def numbers(rows: Rows) -> NDArray[np.float64]:
    """The cells behind the id, float64 (N, columns)."""
    return np.array([[float(cell) for cell in row[1:]] for row in rows])


def accuracy(submitted: Rows, truth: Rows) -> float:
    return float(np.mean([given[1] == right[1] for given, right in zip(submitted, truth, strict=True)]))


def log_loss(submitted: Rows, truth: Rows) -> float:
    """Of P(1), or of a column per class, whose rows are made to sum to 1."""
    given, right = numbers(submitted), numbers(truth)
    if given.shape[1] == 1:
        given, right = np.hstack([1 - given, given]), np.hstack([1 - right, right])
    given = (given / given.sum(axis=1, keepdims=True)).clip(1e-15, 1 - 1e-15)
    return float(-(right * np.log(given)).sum(axis=1).mean())


def weighted_log_loss(submitted: Rows, truth: Rows) -> float:
    """Over tags in long form; `any` counts twice."""
    given, right = numbers(submitted)[:, 0].clip(1e-15, 1 - 1e-15), numbers(truth)[:, 0]
    weights = [2.0 if row[0].endswith("_any") else 1.0 for row in truth]
    losses = -np.where(right == 1, np.log(given), np.log(1 - given))
    return float(np.average(losses, weights=weights))


def mean_column_auc(submitted: Rows, truth: Rows) -> float:
    return float(roc_auc_score(numbers(truth), numbers(submitted), average="macro"))


def partial_auc(submitted: Rows, truth: Rows) -> float:
    """The area above a true positive rate of 80 %, 0..0.2, as the organisers' notebook computes it."""
    flipped = roc_auc_score(1 - numbers(truth)[:, 0], -numbers(submitted)[:, 0], max_fpr=0.2)
    least = 0.5 * 0.2**2
    return float(least + (0.2 - least) / 0.5 * (flipped - 0.5))


def kappa(submitted: Rows, truth: Rows) -> float:
    given, right = ([int(row[1]) for row in rows] for rows in (submitted, truth))
    return float(cohen_kappa_score(right, given, labels=range(5), weights="quadratic"))


def _tags(rows: Rows, names: list[str]) -> NDArray[np.int64]:
    return np.array([[int(name in row[1].split()) for name in names] for row in rows])


def _both(submitted: Rows, truth: Rows) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    names = sorted({name for row in [*submitted, *truth] for name in row[1].split()})
    return _tags(truth, names), _tags(submitted, names)


def samples_f1(submitted: Rows, truth: Rows) -> float:
    return float(f1_score(*_both(submitted, truth), average="samples", zero_division=0))


def samples_f2(submitted: Rows, truth: Rows) -> float:
    return float(fbeta_score(*_both(submitted, truth), beta=2, average="samples", zero_division=0))


def macro_f1(submitted: Rows, truth: Rows) -> float:
    names = [str(number) for number in range(28)]
    return float(f1_score(_tags(truth, names), _tags(submitted, names), average="macro", zero_division=0))


def map_at_5(submitted: Rows, truth: Rows) -> float:
    scores = []
    for given, right in zip(submitted, truth, strict=True):
        guesses = given[1].split()[:5]
        scores.append(1 / (1 + guesses.index(right[1])) if right[1] in guesses else 0.0)
    return float(np.mean(scores))


def weighted_macro_recall(submitted: Rows, truth: Rows) -> float:
    """Macro recall of each component; that of the root counts twice."""
    recalls = {}
    for component in ("grapheme_root", "vowel_diacritic", "consonant_diacritic"):
        rows = [k for k, row in enumerate(truth) if row[0].endswith(component)]
        given, right = ([int(table[k][1]) for k in rows] for table in (submitted, truth))
        recalls[component] = recall_score(right, given, average="macro", zero_division=0)
    return float(np.average(list(recalls.values()), weights=[2, 1, 1]))


SCORERS: dict[str, Scorer] = {
    "digit-recognizer": accuracy,
    "dogs-vs-cats": accuracy,
    "dogs-vs-cats-redux-kernels-edition": log_loss,
    "cifar-10": accuracy,
    "dog-breed-identification": log_loss,
    "plant-seedlings-classification": accuracy,  # which micro F1 is, where a row has one label
    "plant-pathology-2020-fgvc7": mean_column_auc,
    "plant-pathology-2021-fgvc8": samples_f1,
    "cassava-leaf-disease-classification": accuracy,
    "aptos2019-blindness-detection": kappa,
    "diabetic-retinopathy-detection": kappa,
    "siim-isic-melanoma-classification": mean_column_auc,
    "isic-2024-challenge": partial_auc,
    "histopathologic-cancer-detection": mean_column_auc,
    "rsna-intracranial-hemorrhage-detection": weighted_log_loss,
    "ranzcr-clip-catheter-line-classification": mean_column_auc,
    "humpback-whale-identification": map_at_5,
    "planet-understanding-the-amazon-from-space": samples_f2,
    "human-protein-atlas-image-classification": macro_f1,
    "bengaliai-cv19": weighted_macro_recall,
    "state-farm-distracted-driver-detection": log_loss,
    "statoil-iceberg-classifier-challenge": log_loss,
    "the-nature-conservancy-fisheries-monitoring": log_loss,
    "Kannada-MNIST": accuracy,
    "aerial-cactus-identification": mean_column_auc,
}

LOWER_IS_BETTER = (log_loss, weighted_log_loss)
