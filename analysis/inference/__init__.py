"""Statistics: effects, intervals, tests, and simulations that check them."""
