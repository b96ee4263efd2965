"""Beamforming to single-antenna users: the sum rate, and the precoders that everything else is held against.

K users with channels h_i (rows of `channels`, `b k m`), a base station of M antennas and its precoders v_i (rows, too):
user i receives y_i = h_i^H sum_j v_j x_j + n_i with noise of power s2. Wanted is the largest
sum_i a_i log2(1 + SINR_i) with sum_i |v_i|^2 <= P. Any K and M; K may be larger than M.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Complex, Float
from torch import Tensor

from srfoundry.core.errors import FoundryError

Precoders = Complex[Tensor, "b k m"]


@dataclass(frozen=True)
class Downlink:
    """Instances of a base station and its users, to solve together.

    Args:
        channels: complex128, a row a user.
        power: P of each instance.
        noise: s2 of each instance.
        weights: a_i of each user.
    """

    channels: Complex[Tensor, "b k m"]
    power: Float[Tensor, " b"]
    noise: Float[Tensor, " b"]
    weights: Float[Tensor, "b k"]

    def repeated(self, count: int) -> "Downlink":
        """Each instance `count` times, one after the other."""
        parts = (self.channels, self.power, self.noise, self.weights)
        return Downlink(*(part.repeat_interleave(count, dim=0) for part in parts))


def downlink(
    channels: Complex[Tensor, "b k m"],
    *,
    power: float | Tensor,
    noise: float | Tensor = 1.0,
    weights: Tensor | None = None,
) -> Downlink:
    """Check channels and powers, and bring them into one shape, in double precision.

    Args:
        channels: a row a user.
        power: P, one for all or one an instance, `b`.
        noise: s2, likewise.
        weights: of the users, `k` or `b k`; None is 1 each.

    Raises:
        FoundryError: a value that is not finite or of another shape, or a power, noise or weight that cannot be.
    """
    count, users = channels.shape[:2]
    full = {name: _expanded(value, channels, name) for name, value in (("power", power), ("noise", noise))}
    full["weights"] = _expanded(torch.ones(users) if weights is None else weights, channels, "weights", users)
    if not bool(torch.view_as_real(channels).isfinite().all()):
        raise FoundryError("channels must be finite numbers, got others; leave those instances out")
    for name, value in full.items():
        least = float(value.min())
        if not bool(value.isfinite().all()) or least < 0 or (least == 0 and name != "weights"):
            raise FoundryError(f"beamforming needs {name} above 0, got {least}; correct it")
    if not bool((full["weights"].sum(dim=1) > 0).all()):
        raise FoundryError("beamforming needs a user of weight above 0 in each instance, got none; correct the weights")
    return Downlink(channels.to(torch.complex128), **full)


def _expanded(value: Tensor | float, channels: Tensor, name: str, *last: int) -> Tensor:
    """One value for each instance, with a last axis of this size if one is named."""
    shape = (len(channels), *last)
    try:
        return torch.as_tensor(value, dtype=torch.float64, device=channels.device).expand(shape)
    except RuntimeError:
        raise FoundryError(
            f"beamforming needs {name} that fit channels {list(channels.shape)}, "
            f"got {list(torch.as_tensor(value).shape)}; give {list(shape)} of them"
        ) from None


def rayleigh(count: int, users: int, antennas: int, *, rng: torch.Generator) -> Complex[Tensor, "b k m"]:
    """Channels h ~ CN(0, I): every path its own, of power 1."""
    return torch.randn(count, users, antennas, generator=rng, dtype=torch.complex128, device=rng.device)


def gains(channels: Complex[Tensor, "b k m"], precoders: Precoders) -> Float[Tensor, "b k k"]:
    """|h_i^H v_j|^2."""
    return (channels.conj() @ precoders.mT).abs().square()


def rate(given: Downlink, precoders: Precoders) -> Float[Tensor, " b"]:
    """The weighted sum rate in bit, in double precision.

    Raises:
        FoundryError: an instance uses more than its power (by 1e-6 of it).
    """
    precoders = precoders.to(torch.complex128)
    used = precoders.abs().square().sum(dim=(1, 2))
    if bool((used > given.power * (1 + 1e-6)).any()):
        worst = float((used / given.power).max())
        raise FoundryError(f"precoders may use the power P, got {worst:.6f} P; scale them down")
    table = gains(given.channels, precoders)
    signal = table.diagonal(dim1=1, dim2=2)
    disturbance = table.sum(dim=2) - signal + given.noise[:, None]
    return (given.weights * torch.log2(1 + signal / disturbance)).sum(dim=1)


def full_power(given: Downlink, precoders: Precoders) -> Precoders:
    """Scaled to the power P, at which the best precoders are: more power for all raises every user's SINR."""
    used = precoders.abs().square().sum(dim=(1, 2)).clamp_min(1e-300)
    return precoders * (given.power / used).sqrt()[:, None, None]


def mrt(given: Downlink) -> Precoders:
    """Maximum ratio transmission: each beam along its user's channel, whoever else receives it."""
    return full_power(given, given.channels)


def rzf(given: Downlink) -> Precoders:
    """Regularised zero forcing: (sum_j h_j h_j^H + K s2 / P I)^-1 h_i; users' weights are left out."""
    channels = given.channels
    matrix = channels.mT @ channels.conj()
    return full_power(given, _solved(matrix, channels.shape[1] * given.noise / given.power, channels))


def zf(given: Downlink) -> Precoders:
    """Zero forcing: nobody receives another's beam; for K <= M.

    Raises:
        FoundryError: there are more users than antennas.
    """
    users, antennas = given.channels.shape[1:]
    if users > antennas:
        raise FoundryError(f"zero forcing needs as many antennas as users, got {antennas} and {users}; use rzf")
    return full_power(given, torch.linalg.pinv(given.channels.conj()).mT)


def random_starts(given: Downlink, count: int, *, rng: torch.Generator) -> Complex[Tensor, "b s k m"]:
    """Random starts of the power P, the same draws for every instance."""
    shape = given.channels.shape[1:]
    draws = torch.randn(count, *shape, generator=rng, dtype=torch.complex128).to(given.channels.device)
    many = given.repeated(count)
    return full_power(many, draws.repeat(len(given.channels), 1, 1)).unflatten(0, (len(given.channels), count))


def wmmse(given: Downlink, start: Precoders, *, iterations: int) -> Precoders:
    """Weighted minimum mean square error (Shi et al. 2011): block ascent, mu by bisection on the power.

    No iteration lowers the rate.
    """
    precoders = start
    for _ in range(iterations):
        matrix, right, _ = _receivers(given, precoders)
        scales, base = torch.linalg.eigh(matrix)
        projected = base.mH @ right.mT  # m k, along the matrix's own axes
        alive = scales > 1e-12 * scales[:, -1:]  # no channel has a part along the others
        phi = projected.abs().square().sum(dim=2) * alive
        mu = _multiplier(scales, phi, given.power)
        shrunk = torch.where(alive, 1 / torch.where(alive, scales + mu[:, None], 1.0), 0.0)
        precoders = (base @ (shrunk[:, :, None] * projected)).mT
    return precoders


def wmmse_without_bisection(given: Downlink, start: Precoders, *, iterations: int) -> Precoders:
    """WMMSE without bisection: mu = s2 / P sum_i a_i w_i |u_i|^2, then the power is put right by scaling.

    As if noise were s2 |V|^2 / P, which no scaling changes. One linear solve an iteration, and at high SNR fewer of
    them. Where no user of weight above 0 receives anything, no direction is better than another: the answer is 0.
    """
    precoders = full_power(given, start)
    for _ in range(iterations):
        matrix, right, trace = _receivers(given, precoders)
        mu = (given.noise / given.power * trace).clamp_min(1e-100)  # 0 where nobody of weight receives anything
        precoders = full_power(given, _solved(matrix, mu, right))
    return precoders


def rates_over_iterations(
    given: Downlink, method: Callable[..., Precoders], start: Precoders, *, iterations: int
) -> list[float]:
    """The mean rate after each iteration of `wmmse` or `wmmse_without_bisection`."""
    rates: list[float] = []
    for _ in range(iterations):
        start = method(given, start, iterations=1)
        rates.append(float(rate(given, start).mean()))
    return rates


def _receivers(given: Downlink, precoders: Precoders) -> tuple[Tensor, Tensor, Tensor]:
    """For the users' best receivers u and weights w: A = sum a w |u|^2 h h^H, rows a w u h, and sum a w |u|^2."""
    table = given.channels.conj() @ precoders.mT  # h_i^H v_j
    power = table.abs().square()
    received = power.sum(dim=2) + given.noise[:, None]
    own = table.diagonal(dim1=1, dim2=2)
    receiver = own / received
    weight = given.weights * received / (received - power.diagonal(dim1=1, dim2=2))
    strength = weight * receiver.abs().square()
    matrix = (strength[:, :, None] * given.channels).mT @ given.channels.conj()
    return matrix, (weight * receiver)[:, :, None] * given.channels, strength.sum(dim=1)


def _solved(matrix: Tensor, mu: Float[Tensor, " b"], right: Tensor) -> Tensor:
    """Rows (A + mu I)^-1 r."""
    eye = torch.eye(matrix.shape[-1], dtype=matrix.dtype, device=matrix.device)
    return torch.linalg.solve(matrix + mu[:, None, None] * eye, right.mT).mT


def _multiplier(scales: Float[Tensor, "b m"], phi: Float[Tensor, "b m"], power: Float[Tensor, " b"]) -> Tensor:
    """mu >= 0 with sum_m phi_m / (s_m + mu)^2 = P, or 0 where less power is used without it; never above P."""
    low, high = torch.zeros_like(power), (phi.sum(dim=1) / power).sqrt()

    def used(mu: Tensor) -> Tensor:
        return (phi / (scales.clamp_min(0) + mu[:, None]).square().clamp_min(1e-300)).sum(dim=1)

    free = used(low) <= power
    for _ in range(60):
        middle = (low + high) / 2
        above = used(middle) > power
        low, high = torch.where(above, middle, low), torch.where(above, high, middle)
    return high.masked_fill(free, 0.0)
