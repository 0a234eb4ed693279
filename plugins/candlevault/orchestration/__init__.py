"""Where Airflow meets the library: connections, DAG factories, errors as Airflow wants them."""
