"""`python -m transaction_service`."""

import sys

from service_kit.workers import run
from transaction_service.bootstrap import serve
from transaction_service.settings import TransactionSettings

if __name__ == "__main__":
    sys.exit(run("transaction_service", TransactionSettings, serve))
