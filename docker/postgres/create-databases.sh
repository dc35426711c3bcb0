#!/bin/sh
# Runs once, when the volume is new: a database and a user for MLflow, and one for studies. Neither user can open the
# other database.
set -eu
for name in mlflow optuna; do
    case $name in
        mlflow) password=$MLFLOW_DB_PASSWORD ;;
        optuna) password=$OPTUNA_DB_PASSWORD ;;
    esac
    psql --set ON_ERROR_STOP=1 --username "${POSTGRES_USER:-postgres}" --dbname postgres --set name="$name" --set password="$password" <<'SQL'
CREATE ROLE :"name" LOGIN PASSWORD :'password';
CREATE DATABASE :"name" OWNER :"name" ENCODING 'UTF8' TEMPLATE template0;
REVOKE ALL ON DATABASE :"name" FROM PUBLIC;
SQL
done
