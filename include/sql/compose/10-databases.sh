#!/bin/sh
# Run once by the PostgreSQL image when its volume is empty: roles and databases.
set -eu
psql -v ON_ERROR_STOP=1 --username postgres \
  -v airflow_password="$AIRFLOW_DB_PASSWORD" -v candlevault_password="$CANDLEVAULT_DB_PASSWORD" <<'SQL'
CREATE ROLE airflow LOGIN PASSWORD :'airflow_password';
CREATE ROLE candlevault LOGIN PASSWORD :'candlevault_password';
ALTER ROLE airflow SET timezone = 'UTC';
ALTER ROLE candlevault SET timezone = 'UTC';
CREATE DATABASE airflow OWNER airflow;
CREATE DATABASE candlevault OWNER candlevault;
SQL
