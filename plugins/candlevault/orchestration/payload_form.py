"""The trigger form of a payload, from its JSON schema."""

from __future__ import annotations

from collections.abc import Mapping

from airflow.sdk import Param

from candlevault.backtest.payload import tables


def field(schema: Mapping, shown: Mapping, *, required: bool, deep: bool = True) -> Param:
    """One field: `shown` of its `schema` is what Airflow checks, all of it is what it explains.

    An object is a box for JSON in Airflow's form, so its fields are explained below it, in
    tables. A required field has no default, so that Airflow refuses a run without it.
    """
    schema_of_param = {name: value for name, value in shown.items() if name != "default"}
    kinds = schema["type"]
    if "object" in kinds:
        # Airflow shows Markdown only where there is no plain description.
        schema_of_param.pop("description", None)
        schema_of_param["description_md"] = tables.described(schema, deep=deep)
    if "array" in kinds:
        # Airflow takes the examples of a list for all there is to choose from.
        schema_of_param.pop("examples", None)
    if required:
        return Param(**schema_of_param)
    return Param(shown.get("default", schema.get("default")), **schema_of_param)
