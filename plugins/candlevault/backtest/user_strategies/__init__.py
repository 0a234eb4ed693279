"""Strategies of the user: one file each, read and run in a process of their own.

Code of the user's never runs in the process that asks: `catalog` says which strategies there
are, `process` starts the `warden`, and the warden starts the `runner`, which alone executes the
file. What comes back is JSON and plain arrays, checked again. The walls keep accidents in: a
loop without an end, memory, a crash, a process left over. They are none against malice, for the
runner has the rights of the account it runs under.
"""
