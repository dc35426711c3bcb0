"""Create the account `worker` on the MLflow server, with the password of the environment; or set that password again.

python accounts.py      # as the account of MLFLOW_TRACKING_USERNAME, an administrator
"""

import os

from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import RESOURCE_ALREADY_EXISTS, ErrorCode
from mlflow.server import get_app_client

client = get_app_client("basic-auth", tracking_uri=os.environ["MLFLOW_TRACKING_URI"])
password = os.environ["MLFLOW_WORKER_PASSWORD"]
try:
    client.create_user("worker", password)
except MlflowException as error:
    if error.error_code != ErrorCode.Name(RESOURCE_ALREADY_EXISTS):
        raise
    client.update_user_password("worker", password)
