"""How positions move: schedules, the loop, the race of early phases, optimizers."""
