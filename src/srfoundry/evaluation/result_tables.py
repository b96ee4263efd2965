"""Scores of every method on every test set: a row a photograph, and the means that the evaluation reports."""

from collections.abc import Mapping, Sequence

from jaxtyping import Float
from torch import Tensor

from srfoundry.imaging import metrics, niqe

Scores = dict[str, float]
ALIGNED = "aligned"  # the method: bicubic on the original's grid


def scored(
    restored: Mapping[str, Float[Tensor, "1 3 H W"]],
    high: Float[Tensor, "1 3 H W"],
    scale: int,
    *,
    natural: bool = False,
) -> dict[str, Scores]:
    """PSNR-Y in dB and SSIM-Y of one photograph by every method, and the gain over `bicubic`, which is one of them.

    Over `aligned`, too, where that is one: over bicubic on the original's grid, the fair figure.

    Args:
        restored: by method, range [0, 1].
        high: the original.
        scale: border pixels that do not count.
        natural: NIQE as well, where the photograph is large enough for it.
    """
    rows, plain = dict[str, Scores](), metrics.psnr_y(restored["bicubic"], high, scale)
    fair = metrics.psnr_y(restored[ALIGNED], high, scale) if ALIGNED in restored else None
    for name, image in restored.items():
        scores = metrics.scores(image, high, scale)
        scores["gain_db"] = scores["psnr_y"] - plain
        if fair is not None:
            scores["gain_aligned_db"] = scores["psnr_y"] - fair
        value = niqe.niqe(image, scale) if natural else None
        rows[name] = scores if value is None else scores | {"niqe": value}
    return rows


class ResultTable:
    """Scores by test set, method and photograph."""

    def __init__(self, tests: Sequence[str]) -> None:
        self.rows: dict[str, dict[str, dict[str, Scores]]] = {test: {} for test in tests}

    def add(self, test: str, photograph: str, scores: Mapping[str, Scores]) -> None:
        """Take one photograph's scores by method (`scored`)."""
        for method, row in scores.items():
            self.rows[test].setdefault(method, {})[photograph] = row

    def means(self) -> dict[str, dict[str, Scores]]:
        """By test set and method: the mean of each score over the photographs."""
        return {
            test: {method: _mean(list(rows.values())) for method, rows in methods.items()}
            for test, methods in self.rows.items()
        }

    def photographs(self, score: str = "psnr_y") -> dict[str, dict[str, Scores]]:
        """By test set and method: one score of each photograph."""
        return {
            test: {method: {name: row[score] for name, row in rows.items()} for method, rows in methods.items()}
            for test, methods in self.rows.items()
        }


def _mean(rows: Sequence[Scores]) -> Scores:
    """Of each score over the photographs that have it: small ones have no NIQE."""
    values = {key: [row[key] for row in rows if key in row] for row in rows for key in row}
    return {key: sum(found) / len(found) for key, found in values.items()}
