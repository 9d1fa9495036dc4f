"""`python -m transaction_service.back_office`."""

import sys

from service_kit.workers import run
from transaction_service.back_office.bootstrap import serve
from transaction_service.back_office.settings import BackOfficeSettings

if __name__ == "__main__":
    sys.exit(run("transaction_service.back_office", BackOfficeSettings, serve))
