"""What everything is computed with: devices, threads, reductions, random numbers, KeOps, memory, checks of numbers."""
