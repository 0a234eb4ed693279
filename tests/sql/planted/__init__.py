"""Defects to plant in the clean market: plain SQL, one or more for every SQL test."""

from tests.sql.planted import absences, accounts, candles, coarse, cold, versions

DEFECTS = (
    *absences.DEFECTS,
    *accounts.DEFECTS,
    *candles.DEFECTS,
    *coarse.DEFECTS,
    *cold.DEFECTS,
    *versions.DEFECTS,
)
