"""Repeatable backtests: payload → frame → signals → fills → metrics → result.

Pure computation on NumPy arrays: no database, no clock, no Airflow. The caller reads the
candles, judges their completeness and publishes the result.
"""
