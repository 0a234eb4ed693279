"""The local system: embedded PostgreSQL, Airflow's processes and what keeps them running."""
