# One image for all of Airflow's components. Build: docker compose build
FROM python:3.12-slim

ENV PYTHONUNBUFFERED=1 PIP_NO_CACHE_DIR=1 \
    AIRFLOW_HOME=/opt/airflow PYTHONPATH=/opt/candlevault/plugins

RUN useradd --uid 50000 --gid 0 --home-dir /opt/airflow --create-home airflow
# A named volume mounted here takes this owner over.
RUN install -d -o airflow -g 0 -m 775 /opt/airflow/logs /opt/airflow/vault \
    /opt/airflow/vault/inbox /opt/airflow/vault/strategies

COPY requirements.txt /opt/candlevault/
RUN pip install -r /opt/candlevault/requirements.txt

COPY dags /opt/candlevault/dags
COPY plugins /opt/candlevault/plugins
COPY include /opt/candlevault/include
COPY expectations /opt/candlevault/expectations

USER airflow
WORKDIR /opt/airflow
ENTRYPOINT ["airflow"]
