"""All DAGs, parsed once as the DAG processor does."""

from __future__ import annotations

import os

import pytest


@pytest.fixture(scope="session")
def dag_bag(tmp_path_factory):
    """The parsed DAGs of dags/, with Airflow's home and database in a temporary place."""
    from candlevault import paths

    home = tmp_path_factory.mktemp("airflow")
    settings = {
        "AIRFLOW_HOME": str(home),
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{home}/airflow.db",
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__CORE__DAGS_FOLDER": str(paths.DAGS),
        "AIRFLOW__CORE__PLUGINS_FOLDER": str(paths.PLUGINS),
    }
    before = {name: os.environ.get(name) for name in settings}
    os.environ.update(settings)
    try:
        from airflow.dag_processing.dagbag import BundleDagBag
        from airflow.utils.db import initdb

        initdb()
        yield BundleDagBag(
            dag_folder=str(paths.DAGS), bundle_path=paths.DAGS, bundle_name="dags-folder"
        )
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
