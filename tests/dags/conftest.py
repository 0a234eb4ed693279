"""All DAGs, parsed once as the DAG processor does."""

from __future__ import annotations

import pytest

from candlevault import paths


@pytest.fixture(scope="session")
def dag_bag():
    """The parsed DAGs of dags/."""
    from airflow.dag_processing.dagbag import BundleDagBag
    from airflow.utils.db import initdb

    initdb()
    return BundleDagBag(
        dag_folder=str(paths.DAGS), bundle_path=paths.DAGS, bundle_name="dags-folder"
    )
