"""Exact radial sums of the Student kernel in up to three dimensions: every target against every source."""

from __future__ import annotations

import numpy as np

from . import kernel


@kernel
def student(chunk, begin, end, targets, sources, weights, dof, first, mass, push):
    """Mass = Σⱼ wⱼ qᵢⱼ and push = Σⱼ wⱼ q'ᵢⱼ (zᵢ − zⱼ) for rows of `targets`, (n, 3); `sources` is (3, m).

    Target i is source first + i unless first < 0.
    """
    one, inverse, power = np.float32(1), np.float32(1 / dof), np.float32(-0.5 * (dof + 1))
    xs, ys, zs = sources[0], sources[1], sources[2]
    for i in range(begin, end):
        x, y, z = targets[i, 0], targets[i, 1], targets[i, 2]
        total = push_x = push_y = push_z = np.float32(0)
        if dof == 1.0:
            for j in range(xs.shape[0]):
                dx, dy, dz = x - xs[j], y - ys[j], z - zs[j]
                value = one / (one + (dx * dx + dy * dy + dz * dz))
                weighted = weights[j] * value
                slope = -weighted * value
                total += weighted
                push_x += slope * dx
                push_y += slope * dy
                push_z += slope * dz
        else:
            for j in range(xs.shape[0]):
                dx, dy, dz = x - xs[j], y - ys[j], z - zs[j]
                base = one + inverse * (dx * dx + dy * dy + dz * dz)
                weighted = weights[j] * np.exp(power * np.log(base))
                slope = power * inverse * weighted / base
                total += weighted
                push_x += slope * dx
                push_y += slope * dy
                push_z += slope * dz
        mass[i] = total - (weights[first + i] if first >= 0 else np.float32(0))  # q(0) = 1, and its push is 0
        push[i, 0], push[i, 1], push[i, 2] = push_x, push_y, push_z
