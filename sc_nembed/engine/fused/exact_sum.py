"""Exact radial sums in up to three dimensions, every target against every source, and the rows of SNE."""

from __future__ import annotations

import math

import numpy as np
import torch
from numba import njit
from torch import Tensor

from ..compute import backend
from ..kernel import Gaussian
from ..view import View
from . import FAST, kernel, kernels
from .elementary import exp_of
from .kernels import (
    CAUCHY,
    GAUSSIAN,
    KINDS,
    LOG_REPULSION,
    NOISE_REPULSION,
    RATIONAL,
    RATIONAL_REPULSION,
    STUDENT,
    potential_kind,
    shape_of,
)
from .packing import first_of, padded

ROWS = 64
ZERO = np.float32(0)


@njit(nogil=True, cache=True, fastmath=FAST, inline="always")
def _sums(value_and_slope, begin, end, targets, sources, weights, shape, first, mass, push):
    """Mass = Σⱼ wⱼ qᵢⱼ and push = Σⱼ wⱼ q'ᵢⱼ (zᵢ − zⱼ) for rows of `targets`, (n, 3); `sources` is (3, m).

    Target i is source first + i unless first < 0.
    """
    at_zero, _ = value_and_slope(ZERO, shape)
    xs, ys, zs = sources[0], sources[1], sources[2]
    for i in range(begin, end):
        x, y, z = targets[i, 0], targets[i, 1], targets[i, 2]
        total = push_x = push_y = push_z = ZERO
        for j in range(xs.shape[0]):
            dx, dy, dz = x - xs[j], y - ys[j], z - zs[j]
            value, slope = value_and_slope(dx * dx + dy * dy + dz * dz, shape)
            slope *= weights[j]
            total += weights[j] * value
            push_x += slope * dx
            push_y += slope * dy
            push_z += slope * dz
        mass[i] = total - (weights[first + i] * at_zero if first >= 0 else ZERO)
        push[i, 0], push[i, 1], push[i, 2] = push_x, push_y, push_z


@kernel
def student(chunk, begin, end, targets, sources, weights, shape, first, mass, push):
    _sums(kernels.student, begin, end, targets, sources, weights, shape, first, mass, push)


@kernel
def cauchy(chunk, begin, end, targets, sources, weights, shape, first, mass, push):
    _sums(kernels.cauchy, begin, end, targets, sources, weights, shape, first, mass, push)


@kernel
def gaussian(chunk, begin, end, targets, sources, weights, shape, first, mass, push):
    _sums(kernels.gaussian, begin, end, targets, sources, weights, shape, first, mass, push)


@kernel
def rational(chunk, begin, end, targets, sources, weights, shape, first, mass, push):
    _sums(kernels.rational, begin, end, targets, sources, weights, shape, first, mass, push)


@kernel
def rational_repulsion(chunk, begin, end, targets, sources, weights, shape, first, mass, push):
    _sums(kernels.rational_repulsion, begin, end, targets, sources, weights, shape, first, mass, push)


@kernel
def noise_repulsion(chunk, begin, end, targets, sources, weights, shape, first, mass, push):
    _sums(kernels.noise_repulsion, begin, end, targets, sources, weights, shape, first, mass, push)


@kernel
def log_repulsion(chunk, begin, end, targets, sources, weights, shape, first, mass, push):
    _sums(kernels.log_repulsion, begin, end, targets, sources, weights, shape, first, mass, push)


SUMS = {
    STUDENT: student, CAUCHY: cauchy, GAUSSIAN: gaussian, RATIONAL: rational, RATIONAL_REPULSION: rational_repulsion,
    NOISE_REPULSION: noise_repulsion, LOG_REPULSION: log_repulsion,
}  # fmt: skip


@kernel
def gaussian_rows(chunk, begin, end, targets, sources, counts, shape, first, log_mass):
    """log mᵢ of `terms.row_partition`, relative to the nearest cell, so nothing underflows.

    `targets` is (m, 3), `sources` (3, n); target i is source first + i unless first < 0.
    """
    inverse = np.float32(1) / shape[0]
    xs, ys, zs = sources[0], sources[1], sources[2]
    for i in range(begin, end):
        x, y, z = targets[i, 0], targets[i, 1], targets[i, 2]
        own = first + i if first >= 0 else xs.shape[0]
        before = after = np.float32(1e30)
        for j in range(own):
            dx, dy, dz = x - xs[j], y - ys[j], z - zs[j]
            before = min(before, dx * dx + dy * dy + dz * dz)
        for j in range(own + 1, xs.shape[0]):
            dx, dy, dz = x - xs[j], y - ys[j], z - zs[j]
            after = min(after, dx * dx + dy * dy + dz * dz)
        nearest = min(before, after) if first < 0 or counts[own] == 1 else ZERO
        total = ZERO
        for j in range(xs.shape[0]):
            dx, dy, dz = x - xs[j], y - ys[j], z - zs[j]
            sq_dist = max(dx * dx + dy * dy + dz * dz, nearest)  # the cell itself is taken as far as the nearest
            total += counts[j] * exp_of((nearest - sq_dist) * inverse)
        total -= np.float32(1) if first >= 0 else ZERO  # itself; its twins stay
        log_mass[i] = math.log(total) - nearest * inverse


@kernel
def gaussian_row_forces(
    chunk, begin, end, targets, sources, count, counts, row_mass, row_masses, log_mass, log_masses, shape, gradient
):  # fmt: skip
    """2 Σⱼ (wⱼ rᵢ / mᵢ + wᵢ rⱼ / mⱼ) q'ᵢⱼ (zᵢ − zⱼ); of the targets w, r and log m are (m,), of the sources (n,)."""
    inverse = np.float32(1) / shape[0]
    xs, ys, zs = sources[0], sources[1], sources[2]
    for i in range(begin, end):
        x, y, z = targets[i, 0], targets[i, 1], targets[i, 2]
        sum_x = sum_y = sum_z = ZERO
        for j in range(xs.shape[0]):
            dx, dy, dz = x - xs[j], y - ys[j], z - zs[j]
            exponent = (dx * dx + dy * dy + dz * dz) * -inverse
            share = counts[j] * row_mass[i] * exp_of(min(exponent - log_mass[i], ZERO))
            share += count[i] * row_masses[j] * exp_of(min(exponent - log_masses[j], ZERO))
            sum_x += share * dx
            sum_y += share * dy
            sum_z += share * dz
        scale = np.float32(-2) * inverse
        gradient[i, 0], gradient[i, 1], gradient[i, 2] = scale * sum_x, scale * sum_y, scale * sum_z


KERNELS, KERNELS_OF_ROWS = tuple(KINDS), (Gaussian,)


def exact_sum(potential, targets: Tensor, sources: Tensor, weights: Tensor, first: int | None) -> tuple[Tensor, Tensor]:
    """As `radial_sum.exact.plain`."""
    mass, push = torch.empty(len(targets)), torch.empty(len(targets), 3)
    backend.parallel(
        SUMS[potential_kind(potential)], backend.chunk_bounds(len(targets), ROWS), padded(targets).numpy(),
        padded(sources).T.contiguous().numpy(), backend.as_array(weights), shape_of(potential),
        -1 if first is None else first, mass.numpy(), push.numpy(),
    )  # fmt: skip
    return mass, push[:, : targets.shape[1]].contiguous()


def row_partition(kernel: Gaussian, view: View, row_mass: Tensor, counts: Tensor) -> tuple[Tensor, Tensor]:
    """As `terms.row_partition.plain`."""
    m, points, shape = len(view.mine), view.map(padded), shape_of(kernel)
    clouds, bounds = (points.mine.numpy(), points.everyone.T.contiguous().numpy()), backend.chunk_bounds(m, ROWS)
    log_mass, gradient = torch.empty(m), torch.empty(m, 3)
    backend.parallel(gaussian_rows, bounds, *clouds, backend.as_array(counts), shape, first_of(view), log_mass.numpy())
    nothing = torch.zeros_like(counts)  # what fixed cells feel of new ones
    own = (torch.ones(m) if view.is_new else view.own(counts)), view.own(row_mass), log_mass
    others = (counts, nothing, nothing) if view.is_new else (counts, row_mass, view.gather(log_mass))
    arrays = (backend.as_array(part) for pair in zip(own, others, strict=True) for part in pair)
    backend.parallel(gaussian_row_forces, bounds, *clouds, *arrays, shape, gradient.numpy())
    return log_mass, gradient[:, : view.mine.shape[1]].contiguous()
