"""Whether test images come from where the training images come from."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from softvote.data.duplicates import block_means
from softvote.metrics.scores import verdict
from softvote.reporting.report.blocks import Block, Gallery, Paragraph, PictureCard
from softvote.reporting.report.charts import draw_histograms
from softvote.reporting.report.images import encode_image
from softvote.reporting.report.section import LeftOutError, ReportData, section

_MOST = 3000  # images of each side
_FEWEST = 50
_COMPONENTS = 30
_DRAWS = 100
_PICTURES = 12


@section(
    "adversarial",
    "Training against test images",
    "Can a small model tell training from test images, and by which?",
    rank=120,
)
def build_adversarial(data: ReportData) -> Sequence[Block]:
    """Build the verdict, how sure the model is, and the images at both ends."""
    rows = [_choose(len(pixels)) for pixels in (data.dataset.train_pixels, data.dataset.test_pixels)]
    if min(map(len, rows)) < _FEWEST:
        raise LeftOutError(f"it needs {_FEWEST} training and test images")
    train, test = data.dataset.train_pixels[rows[0]], data.dataset.test_pixels[rows[1]]
    is_test = np.repeat([0, 1], [len(train), len(test)])
    sureness = _predict_test(np.concatenate([block_means(train)[0], block_means(test)[0]]), is_test)
    value, error = _area_under_curve(is_test, sureness)
    found = verdict(value - 0.5, error)
    words = {
        "noise": "It cannot tell them apart: the difference from 0.5 is noise.",
        "worse": "It tells them apart no better than chance.",
        "better": "It tells them apart by more than noise: cross-validation may not hold for test rows.",
    }[found]
    chart = draw_histograms(
        "What the model says", {"training": sureness[is_test == 0], "test": sureness[is_test == 1]},
        "probability of being a test image",
    )  # fmt: skip
    text = (
        f"Area under the curve {value:.3f} ± {error:.3f}; 0.5 is chance. {words} A gradient boosting of "
        f"{_COMPONENTS} principal components of coarse images, on {len(train):,} training and "
        f"{len(test):,} test images, each judged by a model that has not seen it."
    )
    blocks: list[Block] = [Paragraph(text, "warning" if found == "better" else ""), chart]
    if found == "better":
        of_train, of_test = sureness[: len(train)], sureness[len(train) :]
        like_test = np.argsort(-of_train, kind="stable")[:_PICTURES]
        clearly = np.argsort(-of_test, kind="stable")[:_PICTURES]
        blocks.append(_gallery("Training images most like the test's", train, rows[0], of_train, like_test))
        blocks.append(_gallery("Test images least like the training's", test, rows[1], of_test, clearly))
    return blocks


def _choose(count: int) -> NDArray[np.int64]:
    """So many row numbers at random, ascending, the same in every run."""
    return np.sort(np.random.default_rng(0).permutation(count)[:_MOST])


def _predict_test(features: NDArray[np.float32], is_test: NDArray[np.int64]) -> NDArray[np.float64]:
    """How probable it is for each image to be a test image, by models of the other images."""
    from sklearn.decomposition import PCA
    from sklearn.ensemble import HistGradientBoostingClassifier
    from sklearn.model_selection import StratifiedKFold, cross_val_predict

    components = min(_COMPONENTS, features.shape[1], len(features))
    reduced = PCA(components, random_state=0).fit_transform(features)
    model = HistGradientBoostingClassifier(max_iter=60, random_state=0)
    folds = StratifiedKFold(5, shuffle=True, random_state=0)
    return np.asarray(cross_val_predict(model, reduced, is_test, cv=folds, method="predict_proba")[:, 1])


def _area_under_curve(is_test: NDArray[np.int64], sureness: NDArray[np.float64]) -> tuple[float, float]:
    """The area under the ROC curve, and its standard error by bootstrap."""
    from sklearn.metrics import roc_auc_score

    random, drawn = np.random.default_rng(0), []
    for _ in range(_DRAWS):
        rows = random.integers(0, len(is_test), len(is_test))
        if 0 < is_test[rows].sum() < len(rows):
            drawn.append(roc_auc_score(is_test[rows], sureness[rows]))
    return float(roc_auc_score(is_test, sureness)), float(np.std(drawn, ddof=1))


def _gallery(
    title: str,
    pixels: NDArray[np.uint8],
    rows: NDArray[np.int64],
    sureness: NDArray[np.float64],
    which: NDArray[np.intp],
) -> Gallery:
    captions = [f"row {rows[i]}: test at {sureness[i]:.0%}" for i in which]
    sources = [encode_image(pixels[i]) for i in which]
    return Gallery(list(map(PictureCard, sources, captions)), title)
