"""What watches a run: the information of a check, and the progress bar."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator

import numpy as np
from torch import Tensor


class StepInfo:
    """The state of a run at a check; handed to callbacks.

    Attributes
    ----------
    iteration, max_iter
        Steps done so far, and steps of the whole run.
    phase
        Name of the phase the last step belonged to. Where two early phases are raced, callbacks see both, "A: ..."
        first.
    loss, grad_norm
        Of `embedding`: the objective at exaggeration 1, and the Frobenius norm of the gradient at `exaggeration`.
    learning_rate, exaggeration
        Of the last step.
    """

    __slots__ = (
        "_carried", "_positions", "exaggeration", "grad_norm", "iteration", "learning_rate", "loss", "max_iter", "phase"
    )  # fmt: skip

    def __init__(
        self, row: dict[str, float], *, max_iter: int, phase: str, positions: Callable[[], Tensor],
        carried: Callable[[], dict[str, np.ndarray]],
    ) -> None:  # fmt: skip
        self.iteration, self.max_iter, self.phase = int(row["iteration"]), max_iter, phase
        self.loss, self.grad_norm = row["loss"], row["grad_norm"]
        self.learning_rate, self.exaggeration = row["lr"], row["exaggeration"]
        self._positions, self._carried = positions, carried

    @property
    def embedding(self):
        """A copy of the positions as a numpy array, (n, d), made when it is read."""
        return self._positions().detach().cpu().numpy().copy()

    @property
    def carried(self) -> dict[str, np.ndarray]:
        """All that changes in a run, as named arrays made when it is read: `embed` goes on from it."""
        return self._carried()

    def __repr__(self) -> str:
        return (
            f"StepInfo(iteration={self.iteration}, max_iter={self.max_iter}, phase={self.phase!r}, "
            f"loss={self.loss:.4f}, "
            f"grad_norm={self.grad_norm:.3g}, learning_rate={self.learning_rate:.3g}, "
            f"exaggeration={self.exaggeration:.3g})"
        )


Callback = Callable[[StepInfo], bool | None]


@contextlib.contextmanager
def progress_bar(total: int, show: bool) -> Iterator[Callback]:
    """A tqdm bar over all steps, with the loss beside it; a callback that does nothing where `show` is False."""
    if not show:
        yield lambda info: None
        return
    from tqdm.auto import tqdm  # in a notebook without widgets its import warns, which should not meet all users

    with tqdm(total=total, desc="neighbor embedding", unit="step") as bar:
        seen = 0

        def update(info: StepInfo) -> None:
            nonlocal seen
            if info.iteration == info.max_iter:
                bar.update(bar.total - bar.n)
            else:
                bar.update(info.iteration - seen if info.iteration > seen else info.iteration)  # a branch starts anew
            seen = info.iteration
            bar.set_postfix_str(f"{info.phase}, loss {info.loss:.4f}")

        yield update
