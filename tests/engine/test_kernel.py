"""Kernels and output affinities: slopes by autograd, UMAP's shape by umap-learn, its potential by quadrature."""

import itertools
import math
import warnings
from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.integrate import quad

from sc_nembed.engine.kernel import (
    SMALLEST,
    Gaussian,
    NoiseRepulsion,
    Rational,
    RationalRepulsion,
    StudentT,
    fit_rational,
)
from sc_nembed.engine.output_affinity import (
    CallableAffinity,
    GaussianAffinity,
    OutputAffinity,
    RationalAffinity,
    StudentAffinity,
    describe,
    resolve_output_affinity,
)

from . import _truth

# kernel, and q as a function of the squared distance
KERNELS = {
    "student 0.5": (StudentT(0.5), lambda u: (1 + u / 0.5) ** -0.75),
    "student 1": (StudentT(), lambda u: 1 / (1 + u)),
    "student 7": (StudentT(7.0), lambda u: (1 + u / 7) ** -4),
    "gaussian 1": (Gaussian(), lambda u: np.exp(-u)),
    "gaussian 2.5": (Gaussian(2.5), lambda u: np.exp(-u / 2.5)),
    "rational 1": (Rational(), lambda u: 1 / (1 + u)),
    "rational 0.9": (Rational(1.58, 0.895), lambda u: 1 / (1 + 1.58 * u**0.895)),
    "rational 1.3": (Rational(0.58, 1.334), lambda u: 1 / (1 + 0.58 * u**1.334)),
}
every_kernel = pytest.mark.parametrize(("kernel", "q"), KERNELS.values(), ids=KERNELS)
SHAPES = [(1.577, 0.895), (0.583, 1.334), (1.0, 1.0), (1.933, 0.79), (0.115, 1.93)]
every_shape = pytest.mark.parametrize(("a", "b"), SHAPES)


def squares(smallest: float = 1e-7, largest: float = 1e3) -> torch.Tensor:
    return torch.from_numpy(np.geomspace(smallest, largest, 400))


def derivative(function, at: torch.Tensor) -> torch.Tensor:
    at = at.clone().requires_grad_()
    return torch.autograd.grad(function(at).sum(), at)[0]


@every_kernel
def test_value_equals_its_formula_and_is_one_at_zero(kernel, q):
    at = squares()
    np.testing.assert_allclose(kernel.value(at), q(at.numpy()), rtol=1e-12)
    close = at[at < 500]  # of the Gaussian beyond that the formula is 0
    np.testing.assert_allclose(kernel.log_value(close), np.log(q(close.numpy())), rtol=1e-9, atol=1e-15)
    assert float(kernel.value(torch.zeros(1, dtype=torch.float64))) == pytest.approx(1, abs=1e-6)


@every_kernel
def test_slopes_equal_autograd(kernel, q):
    at = squares()
    torch.testing.assert_close(kernel.log_slope(at), derivative(kernel.log_value, at), rtol=1e-11, atol=0)
    torch.testing.assert_close(kernel.slope(at), derivative(kernel.value, at), rtol=1e-11, atol=0)


@every_kernel
def test_slopes_at_zero_are_finite(kernel, q):
    """Where they diverge they are those of the smallest squared distance."""
    zero, smallest = torch.zeros(1, dtype=torch.float64), torch.full((1,), SMALLEST, dtype=torch.float64)
    for function in (kernel.log_slope, kernel.slope):
        assert torch.isfinite(function(zero)).all()
        if isinstance(kernel, Rational):
            assert torch.equal(function(zero), function(smallest))


def test_student_of_many_degrees_of_freedom_is_a_gaussian():
    at = squares(largest=4.0)
    np.testing.assert_allclose(StudentT(1e7).value(at), Gaussian(2.0).value(at), rtol=1e-5)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: StudentT(0.0), "dof"),
        (lambda: StudentT(math.nan), "dof"),
        (lambda: Gaussian(-1.0), "sigma"),
        (lambda: Rational(0.0), "`a`"),
        (lambda: Rational(1.0, -0.5), "`b`"),
        (lambda: Rational(clip=0.0), "`clip`"),
    ],
)
def test_parameters_have_to_be_positive(make, message):
    with pytest.raises(ValueError, match=message):
        make()


# --- UMAP's kernel ---


@pytest.mark.parametrize(
    ("min_dist", "spread"),
    [(0.5, 1.0), (0.1, 1.0), (0.0, 1.0), (0.001, 1.0), (0.25, 1.0), (0.9, 1.0), (1.0, 1.0), (0.1, 0.5), (0.5, 3.0)],
)
def test_shape_equals_that_of_umap_learn(min_dist, spread):
    with warnings.catch_warnings():  # of umap-learn and what it imports, about themselves and 0 to a negative power
        warnings.simplefilter("ignore")
        umap = pytest.importorskip("umap.umap_")
        theirs = umap.find_ab_params(spread, min_dist)
    assert fit_rational(min_dist, spread) == pytest.approx(theirs, rel=1e-9)


@pytest.mark.parametrize("spread", [1e-3, 0.05, 0.4, 20.0, 1e4])
@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 1.0])
def test_shape_scales_with_the_spread(share, spread):
    """All distances times s: a / s²ᵇ, the same b; also where umap-learn's solver does not converge."""
    (a, b), (found_a, found_b) = fit_rational(share, 1.0), fit_rational(share * spread, spread)
    assert found_b == pytest.approx(b, rel=1e-3)
    assert found_a == pytest.approx(a * spread ** (-2 * b), rel=1e-2)


@pytest.mark.parametrize(
    ("min_dist", "spread"), [(-0.1, 1.0), (1.1, 1.0), (0.1, 0.0), (0.0, -1.0), (math.nan, 1.0), (0.1, math.nan)]
)
def test_distances_that_make_no_shape_are_refused(min_dist, spread):
    with pytest.raises(ValueError, match="`spread` must be positive and `min_dist` between 0 and `spread`"):
        fit_rational(min_dist, spread)


def test_clip_limits_the_force_of_the_rational_kernel_and_not_its_value():
    free, clipped = Rational(100.0, 1.0), Rational(100.0, 1.0, clip=4.0)
    at = squares()
    forces = [-2 * at.sqrt() * kernel.log_slope(at) for kernel in (free, clipped)]
    assert forces[0].max() > 9  # at the distance 0.1
    torch.testing.assert_close(forces[1], forces[0].clamp_max(4.0))
    assert torch.equal(clipped.value(at), free.value(at))
    assert torch.equal(clipped.log_value(at), free.log_value(at))


@every_shape
def test_clip_of_four_does_not_touch_usual_shapes(a, b):
    at = squares()
    torch.testing.assert_close(Rational(a, b, clip=4.0).log_slope(at), Rational(a, b).log_slope(at), rtol=1e-14, atol=0)


# --- the repulsion of noise ---


@pytest.mark.parametrize("noise", [1e-3, 0.3, 1.0, 20.0])
def test_noise_repulsion_is_minus_log_of_being_told_noise(noise):
    potential, at = NoiseRepulsion(noise), squares(1e-9)
    q = 1 / (1 + at)
    torch.testing.assert_close(potential.value(at), -(1 - q / (q + noise)).log(), rtol=1e-7, atol=1e-15)
    torch.testing.assert_close(potential.slope(at), derivative(potential.value, at), rtol=1e-10, atol=0)
    # the other part of the loss differs from a rational kernel's by a constant
    rest = -(q / (q + noise)).log() + Rational(noise / (1 + noise), 1.0).log_value(at)
    torch.testing.assert_close(rest, torch.full_like(rest, np.log(1 + noise)), rtol=1e-7, atol=1e-9)


@pytest.mark.parametrize("noise", [0.0, -1.0])
def test_noise_must_be_positive(noise):
    with pytest.raises(ValueError, match=f"`noise` of the noise kernel must be positive; got {noise}"):
        NoiseRepulsion(noise)


# --- UMAP's repulsion ---


@every_shape
@pytest.mark.parametrize("clip", [4.0, 1.0, 30.0])
def test_repulsion_is_minus_log_of_one_minus_q_beyond_the_clip_distance(a, b, clip):
    potential = RationalRepulsion(a, b, clip)
    at = squares(potential.clip_distance**2)
    np.testing.assert_allclose(potential.value(at), -np.log1p(-1 / (1 + a * at.numpy() ** b)), rtol=1e-9)
    q = lambda u: -torch.log1p(-1 / (1 + a * u**b))  # noqa: E731
    torch.testing.assert_close(potential.slope(at), derivative(q, at), rtol=1e-9, atol=0)


@every_shape
@pytest.mark.parametrize("clip", [4.0, 1.0, 300.0])
def test_repulsion_slope_equals_autograd_of_its_value(a, b, clip):
    potential = RationalRepulsion(a, b, clip)
    at = squares(1e-9)
    # at the border itself the derivative may be that of either side
    at = at[(at / potential.clip_distance**2 - 1).abs() > 1e-9]
    torch.testing.assert_close(potential.slope(at), derivative(potential.value, at), rtol=1e-10, atol=0)


@every_shape
@pytest.mark.parametrize("clip", [4.0, 1.0])
def test_repulsion_is_the_integral_of_its_clipped_force(a, b, clip):
    """An integral from far away, of UMAP's force as its paper states it, cut at `clip`."""
    potential = RationalRepulsion(a, b, clip)
    force = lambda r: min(2 * b / (r * (1 + a * r ** (2 * b))), clip)  # noqa: E731
    edge = potential.clip_distance
    for r in (0.02, 0.1, 0.4 * edge, edge, 1.5 * edge, 2.0, 7.0):
        corners = [r, edge, 10.0, 1e3, 1e6] if r < edge else [r, 10.0, 1e3, 1e6]
        expected = sum(quad(force, low, high, epsabs=1e-12)[0] for low, high in itertools.pairwise(corners))
        expected += math.log1p(1 / (a * 1e6 ** (2 * b)))
        assert float(potential.value(torch.tensor(r**2, dtype=torch.float64))) == pytest.approx(expected, rel=1e-6)


@every_shape
@pytest.mark.parametrize("clip", [4.0, 1.0, 300.0])
def test_repulsion_is_continuous_and_its_force_at_most_the_clip(a, b, clip):
    potential = RationalRepulsion(a, b, clip)
    edge, core = potential.clip_distance, min(1e-2, potential.clip_distance / 2)
    assert 2 * b / (edge * (1 + a * edge ** (2 * b))) == pytest.approx(clip, rel=1e-9)
    for border in (edge, core):
        sides = torch.tensor([border**2 * (1 - 1e-9), border**2 * (1 + 1e-9)], dtype=torch.float64)
        for function in (potential.value, potential.slope):
            below, above = function(sides).tolist()
            assert below == pytest.approx(above, rel=1e-6)
    distance = torch.linspace(0, 3, 100_001, dtype=torch.float64)
    force = -2 * distance * potential.slope(distance**2)
    assert float(force.max()) == pytest.approx(clip, rel=1e-9)
    assert float(force[0]) == 0
    value = potential.value(distance**2)
    assert (value.diff() < 0).all()
    assert value.diff().abs().max() <= 1.001 * clip * 3e-5


@every_shape
def test_repulsion_is_near_the_one_of_umap_learn(a, b):
    """Which has 2 b / ((0.001 + d²) (1 + a d²ᵇ)) times the difference, cut to 4 in each coordinate."""
    potential = RationalRepulsion(a, b)
    at = squares(potential.clip_distance**2)
    theirs = 2 * b / ((0.001 + at) * (1 + a * at**b))
    torch.testing.assert_close(-2 * potential.slope(at), theirs, rtol=1.2e-2, atol=0)


# --- output affinities ---


def positions(n: int = 30, n_components: int = 2) -> torch.Tensor:
    return torch.from_numpy(2 * np.random.default_rng(0).normal(size=(n, n_components)))


@pytest.mark.parametrize("normalization", ["all", "row", None, "none"])
@every_kernel
def test_log_matrix_equals_brute_force(kernel, q, normalization):
    z = positions()
    full = q(_truth.sq_distances(z, z))
    np.fill_diagonal(full, 0)
    if normalization == "all":
        full /= full.sum()
    elif normalization == "row":
        full /= full.sum(1, keepdims=True) * len(z)
    found = OutputAffinity(kernel, normalization).log_matrix(z)
    np.testing.assert_allclose(found.exp(), full, rtol=1e-9)
    assert (found.diagonal() == -torch.inf).all()


@pytest.mark.parametrize("normalization", ["all", "row", None])
def test_log_matrix_is_differentiable(normalization):
    z = positions(6).requires_grad_()
    apart = ~torch.eye(6, dtype=torch.bool)
    entries = lambda z: OutputAffinity(StudentT(), normalization).log_matrix(z)[apart]  # noqa: E731
    assert torch.autograd.gradcheck(entries, (z,))


def test_shape_of_a_rational_affinity_is_fitted_or_given():
    assert RationalAffinity().shape == fit_rational(0.5, 1.0)
    assert RationalAffinity(0.1, 2.0).resolve().kernel == Rational(*fit_rational(0.1, 2.0))
    assert RationalAffinity(a=1.5, b=0.8).resolve() == OutputAffinity(Rational(1.5, 0.8), None)
    for half in ({"a": 1.5}, {"b": 0.8}):
        with pytest.raises(ValueError, match="belong together"):
            RationalAffinity(**half).resolve()


@pytest.mark.parametrize(
    ("given", "kwargs", "expected"),
    [
        ("Student", {"dof": 2.0}, OutputAffinity(StudentT(2.0), "all")),
        ("gaussian", {"sigma": 3.0, "normalization": "row"}, OutputAffinity(Gaussian(3.0), "row")),
        ("rational", {"a": 1.5, "b": 0.8}, OutputAffinity(Rational(1.5, 0.8), None)),
        (StudentAffinity(0.5), None, OutputAffinity(StudentT(0.5), "all")),
        (GaussianAffinity, {"normalization": "none"}, OutputAffinity(Gaussian(), None)),
        (GaussianAffinity(2.0), {"normalization": "row"}, OutputAffinity(Gaussian(2.0), "row")),
        (OutputAffinity(Rational(2.0, 1.0), "row"), None, OutputAffinity(Rational(2.0, 1.0), "row")),
    ],
)
def test_name_class_and_instance_resolve_and_the_description_makes_it_again(given, kwargs, expected):
    assert resolve_output_affinity(given, kwargs) == expected
    name, arguments = describe(given, kwargs)
    assert isinstance(name, str)
    assert resolve_output_affinity(name, arguments) == expected


@pytest.mark.parametrize(
    ("given", "kwargs", "error", "message"),
    [
        ("foo", None, ValueError, "available: .*rational"),
        ("rational", {"dof": 1.0}, TypeError, r"\['dof'\].*min_dist"),
        ("student", {"normalization": "foo"}, ValueError, "normalization"),
        (3, None, TypeError, "student"),
        (int, None, TypeError, "student"),
        (lambda z: z, {"foo": 1}, TypeError, r"\['foo'\]"),
    ],
)
def test_what_is_no_output_affinity_is_refused(given, kwargs, error, message):
    with pytest.raises(error, match=message):
        resolve_output_affinity(given, kwargs)


def test_function_is_an_output_affinity():
    def log_q(z, scale=1.0):
        return -(z[:, None] - z[None]).square().sum(2) / scale

    z = positions()
    found = resolve_output_affinity(log_q, {"scale": 3.0})
    assert found == CallableAffinity(log_q, (("scale", 3.0),))
    assert describe(log_q, {"scale": 3.0}) == (log_q, {"scale": 3.0})
    torch.testing.assert_close(found.log_matrix(z), OutputAffinity(Gaussian(3.0)).log_matrix(z))
    for wrong in (lambda z: z, lambda z: 1.0):
        with pytest.raises(ValueError, match="30 by 30"):
            replace(found, function=wrong, kwargs=()).log_matrix(z)
