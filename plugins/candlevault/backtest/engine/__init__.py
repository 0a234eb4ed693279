"""The engine: a compiled loop over bars, its tables, and the simulation around it."""
