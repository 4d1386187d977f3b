"""How the gradient is made: callables that add to `.grad`."""
