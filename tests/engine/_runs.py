"""Runs that are stopped and gone on with: `test_carried` begins them, `go_on` ends them in another process."""

from pathlib import Path

import numpy as np
import torch

from sc_nembed.engine import presets
from sc_nembed.engine.configure import configured
from sc_nembed.engine.pipeline import embed

N, STEPS, INTERVAL, STOP = 150, 24, 4, 12
OPTIMIZERS = {
    "auto": {},
    "Adam": {"optimizer": "Adam", "lr": 0.05},
    "SGD": {"optimizer": "SGD", "lr": 0.05, "scheduler": "LinearLR"},
    "DeltaBarDelta": {"optimizer": "DeltaBarDelta", "lr": 0.05},
}
OWN_STEPS = {"cosne"}  # methods that take no other optimizer
SAMPLED = {"repulsion": "sampled"}
VARIANTS = {  # method, its options, changes of the configuration
    "umap in epochs": ("umap", SAMPLED, {}),
    "largevis sampled": ("largevis", SAMPLED, {}),
    "neg_tsne sampled": ("negtsne", SAMPLED, {}),
    "info_tsne alone": ("infotsne", {"with_positive": False}, {}),
    "localmap, last phase": ("localmap", {}, {"max_iter": 40, "stop": 32}),
    "duplicates": ("tsne", {}, {"process_duplicates": True}),
    "tsnekhorn, duplicates": ("tsnekhorn", {}, {"process_duplicates": True}),
    "1-D": ("tsne", {}, {"n_components": 1}),
    "float64": ("tsne", {}, {"dtype": torch.float64}),
    "float64 tsnekhorn": ("tsnekhorn", {}, {"dtype": torch.float64}),
    "two threads": ("tsne", {}, {"n_jobs": 2}),
    "shortened": ("tsne", {}, {"max_grad_norm": 1e-3}),
    "density": ("tsne", {}, {"density": True, "stop": 20}),
    "reference": ("tsne", {}, {"reference": np.random.default_rng(1).normal(size=(N, 2))}),
    "stop after the first step": ("tsne", {}, {"stop": 1}),
    "stop after the last step": ("tsne", {}, {"stop": STEPS}),
    "plateau": (
        "tsne", {},
        {"optimizer": "SGD", "lr": 1e-3, "scheduler": "ReduceLROnPlateau",
         "scheduler_kwargs": {"patience": 0, "threshold": 10.0}},
    ),
    "cyclic momentum": (
        "tsne", {},
        {"optimizer": "SGD", "lr": 1.0, "optimizer_kwargs": {"momentum": 0.9}, "scheduler": "CyclicLR",
         "scheduler_kwargs": {"base_lr": 0.1, "max_lr": 2.0, "step_size_up": 5}},
    ),
    "cyclic betas": (
        "tsne", {},
        {"optimizer": "Adam", "lr": 0.05, "scheduler": "OneCycleLR",
         "scheduler_kwargs": {"max_lr": 0.1, "total_steps": 30}},
    ),
    "restarts": (
        "tsne", {},
        {"optimizer": "auto", "scheduler": "CosineAnnealingWarmRestarts", "scheduler_kwargs": {"T_0": 3, "T_mult": 2}},
    ),
    "raced, A": ("tsne", {}, {"race": True, "stop": "A: 40"}),
    "raced, B": ("tsne", {}, {"race": True, "stop": "B: 40"}),
    "raced, finish": ("tsne", {}, {"race": True, "stop": "140"}),
    "encoder": ("tsne", {}, {"encoder": 0.0}),
    "encoder, dropout": ("tsne", {}, {"encoder": 0.2, "optimizer": "Adagrad", "lr": 0.02}),
    "encoder, bfloat16": ("tsne", {}, {"encoder": 0.2, "bits": 16, "optimizer": "NAdam", "lr": 0.02}),
    "encoder, plateau": ("umap", {}, {"encoder": 0.2, "scheduler": "ReduceLROnPlateau"}),
}  # fmt: skip
TORCH = ("ASGD", "Adadelta", "Adagrad", "AdamW", "Adamax", "NAdam", "RAdam", "RMSprop", "Rprop")

CASES = {
    f"{method}, {name}": (method, {}, changes)
    for method in presets.METHODS
    for name, changes in OPTIMIZERS.items()
    if name == "auto" or method not in OWN_STEPS
}
CASES |= {name: ("tsne", {}, {"optimizer": name, "lr": 0.05}) for name in TORCH} | VARIANTS


def cells() -> torch.Tensor:
    """(n, 8) in five groups, the last twenty as the first."""
    rng = np.random.default_rng(0)
    made = rng.normal(size=(5, 8))[rng.integers(0, 5, N)] * 3 + rng.normal(size=(N, 8))
    made[-20:] = made[:20]
    return torch.from_numpy(made).float()


def encoder(dropout: float) -> torch.nn.Module:
    """A small module with buffers, draws and two tensors of each kind."""
    with torch.random.fork_rng():
        torch.default_generator.manual_seed(0)
        return torch.nn.Sequential(
            torch.nn.Linear(8, 16), torch.nn.BatchNorm1d(16), torch.nn.ReLU(), torch.nn.Dropout(dropout),
            torch.nn.Linear(16, 2),
        )  # fmt: skip


def config_and_stop(name: str):
    """The configuration of a case, and the check at which it is carried over: "branch: steps"."""
    method, options, changes = CASES[name]
    changes = {"perplexity": 10.0} | changes if method in ("tsne", "sne", "cosne") else dict(changes)
    stop = str(changes.pop("stop", STOP))
    if "encoder" in changes:
        dtype = torch.bfloat16 if changes.pop("bits", 32) == 16 else torch.float32
        changes["encoder"] = encoder(changes["encoder"]).to(dtype)
    steps = {} if changes.get("race") else {"max_iter": STEPS}
    usual = {"check_interval": INTERVAL, "n_jobs": 1, "min_grad_norm": 0.0}
    return configured(presets.resolve_method(method), usual | steps | changes | options), stop


def found(result) -> dict[str, np.ndarray]:
    """All numbers of a result."""
    arrays = {f"history {name}": column for name, column in result.history.items()}
    if result.encoder is not None:
        arrays |= {f"encoder {name}": value.float().numpy() for name, value in result.encoder.state_dict().items()}
    ended = {"n_iter": result.n_iter, "stop_reason": result.stop_reason, "branch": result.resolved.get("branch", "")}
    return arrays | {"embedding": result.embedding.numpy()} | {key: np.array(value) for key, value in ended.items()}


def go_on(folder: str) -> None:
    """End every run from its carried arrays."""
    for name in CASES:
        config, _ = config_and_stop(name)
        path = Path(folder) / name
        with np.load(f"{path}.carried.npz") as carried:
            np.savez(f"{path}.ended.npz", **found(embed(cells(), config, carried=carried)))
