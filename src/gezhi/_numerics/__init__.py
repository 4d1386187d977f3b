"""Numerical ground that several wings stand on: checked arrays, the sphere's log-partition, exact transport."""

from gezhi._numerics.sphere import real_array, spherical_entropy_shift
from gezhi._numerics.transport import exact_transport, transport_with_potentials

__all__ = ["exact_transport", "real_array", "spherical_entropy_shift", "transport_with_potentials"]
