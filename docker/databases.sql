-- One database and one role each for MLflow, its users and Optuna: MLflow and Optuna both need a table
-- `alembic_version`, and no role needs to read the data of another. Passwords come from files.
\set ON_ERROR_STOP on
\set mlflow `cat "$SECRETS/mlflow_db_password"`
\set mlflow_users `cat "$SECRETS/mlflow_users_db_password"`
\set optuna `cat "$SECRETS/optuna_db_password"`
CREATE ROLE mlflow LOGIN PASSWORD :'mlflow';
CREATE ROLE mlflow_users LOGIN PASSWORD :'mlflow_users';
CREATE ROLE optuna LOGIN PASSWORD :'optuna';
CREATE DATABASE mlflow OWNER mlflow;
CREATE DATABASE mlflow_users OWNER mlflow_users;
CREATE DATABASE optuna OWNER optuna;
REVOKE CONNECT ON DATABASE mlflow, mlflow_users, optuna, postgres FROM PUBLIC;
